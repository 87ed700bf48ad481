//! `PostgreSQL` at its defaults, which sync at each commit: one row for each state, by a prepared
//! statement over its protocol (version 3, described in its manual's chapter on it).

use std::fs;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{NOT_INSTALLED, Server, runs};

const PROTOCOL: u32 = 196_608;

/// A server of its own.
pub struct Postgres {
    _server: Server,
    socket: PathBuf,
}

/// Where Debian and others put the programs, the newest version last.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> =
        versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.sort();
    found.pop()
}

/// The program, as the user `postgres` where this one may not run it.
fn command(program: &Path) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
    command
}

impl Postgres {
    /// Starts one, or says why there is none.
    pub fn start(home: &Path) -> Result<Self, &'static str> {
        let programs = programs().ok_or(NOT_INSTALLED)?;
        let place = home.join("postgres");
        fs::create_dir(&place).expect("a directory can be made");
        // The server runs as another user where this one is root.
        for dir in [home, &place] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).expect("it is ours");
        }
        let data = place.join("data");
        let mut init = command(&programs.join("initdb"));
        init.args(["-A", "trust", "-U", "bench", "-D"]).arg(&data).current_dir(&place);
        if !runs(&mut init) {
            return Err("its initdb fails here; may the user `postgres` reach the directory?");
        }
        let mut server = command(&programs.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(&place).args(["-h", "", "-c"]);
        server.arg("max_connections=150").current_dir(&place);
        let socket = place.join(".s.PGSQL.5432");
        let server = Server::start(&mut server, || Session::open(&socket).is_ok());
        let mut session = Session::open(&socket).expect("it answered just now");
        session.query(
            "CREATE TABLE checkpoints (seq bigserial PRIMARY KEY, agent text NOT NULL, \
             state text NOT NULL)",
        );
        Ok(Self { _server: server, socket })
    }

    /// A connection that inserts each state it is given.
    pub fn connect(&self) -> impl FnMut(&str, &[u8]) + use<> {
        let mut session = Session::open(&self.socket).expect("PostgreSQL listens");
        session.prepare("INSERT INTO checkpoints (agent, state) VALUES ($1, $2)");
        move |agent, state| session.insert(agent.as_bytes(), state)
    }
}

struct Session(BufReader<UnixStream>);

/// A message: its letter, its length, its content.
fn message(letter: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![letter];
    bytes.extend_from_slice(&length(content.len() + 4));
    bytes.extend_from_slice(content);
    bytes
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("it is short").to_be_bytes()
}

impl Session {
    fn open(socket: &Path) -> std::io::Result<Self> {
        let mut session = Self(BufReader::new(UnixStream::connect(socket)?));
        let mut content = PROTOCOL.to_be_bytes().to_vec();
        content.extend_from_slice(b"user\0bench\0database\0postgres\0\0");
        let mut start = length(content.len() + 4).to_vec();
        start.extend_from_slice(&content);
        session.0.get_mut().write_all(&start)?;
        session.until_ready()?;
        Ok(session)
    }

    fn query(&mut self, text: &str) {
        self.ask(&message(b'Q', format!("{text}\0").as_bytes()));
    }

    fn prepare(&mut self, text: &str) {
        let mut content = format!("s\0{text}\0").into_bytes();
        content.extend_from_slice(&[0, 0]);
        self.ask(&[message(b'P', &content), message(b'S', b"")].concat());
    }

    fn insert(&mut self, agent: &[u8], state: &[u8]) {
        // An unnamed portal of the statement, with all parameters and results as text.
        let mut bind = b"\0s\0\0\0\0\x02".to_vec();
        for value in [agent, state] {
            bind.extend_from_slice(&length(value.len()));
            bind.extend_from_slice(value);
        }
        bind.extend_from_slice(&[0, 0]);
        let execute = message(b'E', &[0, 0, 0, 0, 0]);
        self.ask(&[message(b'B', &bind), execute, message(b'S', b"")].concat());
    }

    fn ask(&mut self, request: &[u8]) {
        self.0.get_mut().write_all(request).expect("PostgreSQL listens");
        self.until_ready().expect("PostgreSQL answers");
    }

    fn until_ready(&mut self) -> std::io::Result<()> {
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head)?;
            let [letter, rest @ ..] = head;
            let mut content = vec![0; u32::from_be_bytes(rest) as usize - 4];
            self.0.read_exact(&mut content)?;
            match letter {
                b'Z' => return Ok(()),
                b'E' => return Err(std::io::Error::other(String::from_utf8_lossy(&content))),
                _ => {}
            }
        }
    }
}
