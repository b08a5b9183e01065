//! The bench: a stub of Trino, a load tool, and Northgate, nginx and the stub alone side by side. See README.md.

// This program's figures and complaints are for the terminal.
#![allow(clippy::print_stderr)]

mod admission;
mod bank;
mod cache;
mod catalogs;
mod compare;
mod engine;
mod fault;
mod gateway;
mod http;
mod library;
mod load;
mod metadata;
mod pages;
mod peer;
mod processes;
mod program;
mod record;
mod report;
mod setup;
mod shapes;
mod sign_in;
mod stub;
mod tokens;
mod waiting;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::fault::{Result, Trying};

#[derive(Parser)]
#[command(about = "Measures Northgate beside nginx")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Answer Trino's pages as fast as can be
    Stub {
        /// The port of the loopback address; 0 takes a free one
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// End when standard input closes
        #[arg(long)]
        until_input_closes: bool,
    },
    /// Put load on one server and print what it gives
    Load {
        /// Where it listens, such as 127.0.0.1:8443
        address: SocketAddr,
        /// What to measure
        #[arg(value_enum)]
        kind: Kind,
        /// The authority of its certificate, PEM; plain HTTP without
        #[arg(long)]
        authority: Option<PathBuf>,
        /// A bearer token
        #[arg(long)]
        token: Vec<String>,
        /// Connections that poll
        #[arg(long, default_value_t = 4)]
        connections: usize,
        /// For how long
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Rewrite one long statement, and print by how many times its length this process grew
    Memory {
        /// The number of its shape
        shape: usize,
        /// By how many times it is shorter than the longest
        part: usize,
    },
    /// Measure everything side by side
    All {
        /// Only the figure of this name
        #[arg(long)]
        only: Option<String>,
        /// The program
        #[arg(long, default_value = "target/release/northgate")]
        northgate: PathBuf,
        /// Measure a second nginx in Northgate's place, to see what the method gives for equals
        #[arg(long)]
        twice_nginx: bool,
        /// Where the servers' files go; emptied first
        #[arg(long, default_value = "target/bench")]
        folder: PathBuf,
        /// The list of figures
        #[arg(long, default_value = "target/bench.json")]
        output: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Poll,
    Submit,
    Stream,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<bool> {
    match task {
        Task::Stub { port, until_input_closes } => {
            if until_input_closes {
                std::thread::spawn(|| {
                    let _ = io::copy(&mut io::stdin(), &mut io::sink());
                    std::process::exit(0);
                });
            }
            stub::serve(port).map(|()| true)
        }
        Task::Memory { shape, part } => {
            let said = library::memory_of(shape, part)?;
            Ok(writeln!(io::stdout(), "{said}").is_ok())
        }
        Task::Load { address, kind, authority, token, connections, seconds } => {
            let tls = authority.map(|file| {
                let pem = std::fs::read(&file).trying(|| format!("read {}", file.display()))?;
                load::tls(&pem)
            });
            let target = load::Target { address, tls: tls.transpose()?, tokens: token };
            print_load(&target, kind, connections, Duration::from_secs_f64(seconds)).map(|()| true)
        }
        Task::All { only, northgate, twice_nginx, folder, output } => {
            processes::stop_on_signals()?;
            compare::run(&compare::Options { only, northgate, twice_nginx, folder, output })
        }
    }
}

fn print_load(target: &load::Target, kind: Kind, connections: usize, time: Duration) -> Result<()> {
    let mut out = io::stdout();
    match kind {
        Kind::Poll => {
            let mut polls = load::poll(target, connections, time)?;
            let (p50, p99) = (polls.latencies.micros(0.5), polls.latencies.micros(0.99));
            writeln!(out, "p50 {p50:.1} us, p99 {p99:.1} us, {:.0} polls/s", polls.per_second)?;
        }
        Kind::Submit => {
            let mut times = load::submit(target, time)?;
            let (p50, p99) = (times.micros(0.5), times.micros(0.99));
            writeln!(out, "p50 {p50:.1} us, p99 {p99:.1} us, {} queries", times.len())?;
        }
        Kind::Stream => {
            let streamed = load::stream(target, None)?;
            let speed = streamed.bytes as f64 / 1e6 / streamed.time.as_secs_f64();
            writeln!(
                out,
                "{speed:.0} MB/s, {} bytes in {:.2} s",
                streamed.bytes,
                streamed.time.as_secs_f64()
            )?;
        }
    }
    Ok(())
}
