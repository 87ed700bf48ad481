//! The database many keep such states in: WAL mode, `synchronous=FULL`, one row for each commit
//! through a prepared statement, with its automatic checkpoints as they come.

use std::path::Path;

use rusqlite::{Connection, params};

/// A database with one table of checkpoints.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Makes the database.
    pub fn create(path: &Path) -> Self {
        let connection = Connection::open(path).expect("the database opens");
        connection
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
                 CREATE TABLE checkpoints (
                     seq INTEGER PRIMARY KEY, agent TEXT NOT NULL, state BLOB NOT NULL);",
            )
            .expect("the table can be made");
        Self { connection }
    }

    /// Inserts one state and commits.
    pub fn commit(&self, agent: &str, state: &[u8]) {
        self.connection
            .prepare_cached("INSERT INTO checkpoints (agent, state) VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute(params![agent, state]))
            .expect("the row can be inserted");
    }
}
