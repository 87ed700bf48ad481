//! Redis that acknowledges what it synced: `appendfsync always`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{NOT_INSTALLED, Server, runs};

/// A server of its own.
pub struct Redis {
    _server: Server,
    socket: PathBuf,
}

impl Redis {
    /// Starts one, or says why there is none.
    pub fn start(home: &Path) -> Result<Self, &'static str> {
        if !runs(Command::new("redis-server").arg("--version")) {
            return Err(NOT_INSTALLED);
        }
        let socket = home.join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "always", "--unixsocket"]).arg(&socket);
        command.arg("--dir").arg(home).current_dir(home);
        let server = Server::start(&mut command, || UnixStream::connect(&socket).is_ok());
        Ok(Self { _server: server, socket })
    }

    /// A connection that sets a key to each state it is given.
    pub fn connect(&self) -> impl FnMut(&str, &[u8]) + use<> {
        let stream = UnixStream::connect(&self.socket).expect("Redis listens");
        let mut stream = BufReader::new(stream);
        let mut answer = String::new();
        move |agent, state| {
            let mut request = Vec::with_capacity(state.len() + 64);
            request.extend_from_slice(b"*3\r\n");
            for word in [&b"SET"[..], agent.as_bytes(), state] {
                request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                request.extend_from_slice(word);
                request.extend_from_slice(b"\r\n");
            }
            stream.get_mut().write_all(&request).expect("Redis listens");
            answer.clear();
            stream.read_line(&mut answer).expect("Redis answers");
            assert_eq!(answer, "+OK\r\n");
        }
    }
}
