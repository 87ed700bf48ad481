//! One connection to a sidecar, as an agent without any library would hold it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A connection that stays open from request to request.
pub struct Connection {
    stream: BufReader<UnixStream>,
    answer: Vec<u8>,
}

impl Connection {
    pub fn open(socket: &Path) -> std::io::Result<Self> {
        Ok(Self { stream: BufReader::new(UnixStream::connect(socket)?), answer: Vec::new() })
    }

    /// Keeps a state; it is durable when this returns.
    pub fn commit(&mut self, agent: &str, state: &[u8]) {
        let (head, tail) = (br#"{"kind":"routine","state":"#, b"}");
        let length = head.len() + state.len() + tail.len();
        let mut request = format!(
            "POST /v1/agents/{agent}/checkpoints HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        for part in [&head[..], state, tail] {
            request.extend_from_slice(part);
        }
        let status = self.ask(&request);
        let answer = String::from_utf8_lossy(&self.answer);
        assert_eq!(status, 201, "the sidecar answered: {answer}");
    }

    /// Whether it answers at all.
    pub fn is_alive(&mut self) -> bool {
        self.ask(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n") == 200
    }

    fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.get_mut().write_all(request).expect("the sidecar listens");
        let first = self.line();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut length = 0;
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').expect("a header has a colon");
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length is a number");
            }
        }
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer).expect("the answer is as long as it says");
        status.expect("an answer begins with its status")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the sidecar answers");
        line.trim_end().to_owned()
    }
}
