//! nginx in the place of a load balancer: it passes each request to one gateway after another, and sends none to those
//! that are not ready.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::gateway::certificates;
use super::process::{Guarded, free_ports, run_stack, within};
use super::{Client, Gateway};

/// Where a gateway is: its port for clients, and that of its operator.
type Target = (u16, u16);

/// A running balancer.
pub(crate) struct Balancer {
    pub(crate) port: u16,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
    process: Arc<Mutex<Guarded>>,
    _folder: tempfile::TempDir,
}

impl Balancer {
    /// Starts one before these gateways.
    pub(crate) fn start(gateways: &[&Gateway]) -> Self {
        let targets: Vec<Target> =
            gateways.iter().map(|gateway| (gateway.port, gateway.admin_port)).collect();
        let folder = tempfile::Builder::new().prefix("northgate-nginx-").tempdir().expect("a folder");
        let [port] = free_ports();
        let program = run_stack(&["nginx"]).trim().to_owned();
        write(folder.path(), port, &targets);
        let mut command = Command::new(program);
        command.arg("-c").arg(folder.path().join("nginx.conf")).arg("-p").arg(folder.path());
        command.args(["-g", "daemon off;", "-e", "stderr"]);
        let process = Guarded::spawn(&command, folder.path(), &folder.path().join("log")).expect("nginx");
        let up = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        assert!(within(Duration::from_secs(30), up).is_some(), "nginx does not start: {}", log());
        let process = Arc::new(Mutex::new(process));
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = {
            let (stop, process, path) = (Arc::clone(&stop), Arc::clone(&process), folder.path().to_owned());
            thread::spawn(move || watch(&stop, &process, &path, port, &targets))
        };
        Self { port, stop, watcher: Some(watcher), process, _folder: folder }
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::tls(self.port, &certificates().join("ca.pem"))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        drop(self.process.lock());
    }
}

/// Asks the gateways how they are, as a load balancer does, and leaves out who is not ready.
fn watch(stop: &AtomicBool, process: &Mutex<Guarded>, folder: &Path, port: u16, targets: &[Target]) {
    let mut used: Vec<Target> = targets.to_vec();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(200));
        let ready = |(_, admin): &&Target| {
            std::net::TcpStream::connect(("127.0.0.1", *admin)).is_ok_and(|connection| {
                drop(connection);
                std::panic::catch_unwind(|| Client::plain(*admin).get("/ready").status == 200)
                    .unwrap_or(false)
            })
        };
        let now: Vec<Target> = targets.iter().filter(ready).copied().collect();
        // A balancer with nobody left sends requests to all.
        if now != used && !now.is_empty() {
            write(folder, port, &now);
            process.lock().expect("no panic in a lock").signal("HUP");
            used = now;
        }
    }
}

fn write(folder: &Path, port: u16, targets: &[Target]) {
    let mut servers = String::new();
    for (gateway, _) in targets {
        let _ = writeln!(servers, "server 127.0.0.1:{gateway} max_fails=0;");
    }
    let certificates = certificates().display();
    let text = format!(
        "worker_processes 1;\npid nginx.pid;\nevents {{ worker_connections 1024; }}\nhttp {{\n\
         access_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path f;\nuwsgi_temp_path u;\n\
         scgi_temp_path s;\nupstream gateways {{ {servers} keepalive 32; }}\n\
         server {{ listen 127.0.0.1:{port} ssl;\nssl_certificate {certificates}/server.pem;\n\
         ssl_certificate_key {certificates}/server-key.pem;\nlarge_client_header_buffers 16 64k;\n\
         client_max_body_size 100m;\nlocation / {{ proxy_pass https://gateways;\nproxy_http_version 1.1;\n\
         proxy_set_header Connection \"\";\nproxy_set_header Host $http_host;\nproxy_buffering off;\n\
         proxy_next_upstream off;\nproxy_read_timeout 120s; }} }} }}\n"
    );
    std::fs::write(folder.join("nginx.conf"), text).expect("the folder is ours");
}
