//! trino-gateway 20, the peer: polls through it and through Northgate, of the same stub, in the same run.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::fault::{Result, unusable};
use crate::load::{self, Target};
use crate::processes::{Running, free_address};
use crate::setup::Ground;

/// Connections that poll.
pub(crate) const CONNECTIONS: usize = 8;
/// How long it may take to start.
const START_WITHIN: Duration = Duration::from_mins(2);
/// How long it polls before anything is measured: its virtual machine compiles what is used much.
const WARM_UP: Duration = Duration::from_secs(15);

/// Starts it before `upstream`, without TLS and without a login, and warms it up.
pub(crate) fn start(ground: &Ground, upstream: SocketAddr) -> Result<(Running, Target)> {
    let folder = ground.folder.join("trino-gateway");
    std::fs::create_dir_all(&folder)?;
    let address = free_address()?;
    let log = std::fs::File::create(folder.join("output.log"))?;
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/stack"));
    command
        .arg("trino-gateway")
        .arg(&folder)
        .arg(address.port().to_string())
        .arg(format!("http://{upstream}"));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let process = Running::start("trino-gateway", &mut command)?;
    let end = Instant::now() + START_WITHIN;
    while !answers(address) {
        if Instant::now() > end {
            return Err(unusable(format!("trino-gateway does not answer; see {}", folder.display())));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let target = Target { address, tls: None, tokens: ground.tokens.clone() };
    load::poll(&target, CONNECTIONS, WARM_UP)?;
    Ok((process, target))
}

/// Whether a statement gets to the stub and back.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(
            b"POST /v1/statement HTTP/1.1\r\nHost: localhost\r\nX-Trino-User: bench\r\nContent-Length: 8\r\n\
              Connection: close\r\n\r\nSELECT 1",
        )?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains("_bench"))
}
