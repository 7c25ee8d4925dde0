//! A file or the standard output: bytes as they are. Writing blocks, and the command has nothing else to do meanwhile.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::Chunk;

pub(super) struct FileOutput {
    out: Box<dyn Write + Send>,
}

impl FileOutput {
    pub(super) fn create(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| error.to_string())?;
        Ok(Self { out: Box::new(file) })
    }

    pub(super) fn stdout() -> Self {
        Self { out: Box::new(io::stdout()) }
    }

    pub(super) fn send(&mut self, chunk: &Chunk) -> Result<(), String> {
        self.out.write_all(&chunk.data).map_err(message)
    }

    pub(super) fn close(&mut self) -> Result<(), String> {
        match self.out.flush() {
            // Whoever read the pipe had enough, and has been told so already.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(message),
        }
    }
}

fn message(error: io::Error) -> String {
    error.to_string()
}
