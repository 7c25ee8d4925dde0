//! What was put in, activated and removed, in the order in which it was: a file of lines that only grows.
//!
//! ```text
//! 8 hexadecimal digits   CRC-32 (IEEE) of the JSON that follows
//! a blank
//! an object in JSON      the first line's: {"format":"millrace-registry","version":1}
//! a line feed
//! ```
//! The other lines are [`Line`]s. Always true: a line counts once it is synced with its line feed, so what a crash has
//! left of a last one never counted, and is cut off; any other line that does not verify is an error. After a write that
//! failed nothing more is written until the journal is opened anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Activation, Digest, RegistryError, Version};
use crate::time::Micros;

/// The file.
pub(super) const NAME: &str = "journal";

const FORMAT: &str = "millrace-registry";
const VERSION: u32 = 1;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// A version was put in.
    Put(Version),
    /// A version became the one that runs.
    Activated(Activation),
    /// A component was removed.
    Removed { digest: Digest, when: Micros },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// The open journal.
pub(super) struct Journal {
    file: File,
    failed: bool,
}

impl Journal {
    /// Opens the journal in `folder`, made where there is none, and reads it.
    pub(super) fn open(folder: &Path) -> Result<(Self, Vec<Line>), RegistryError> {
        let unusable = |error: io::Error| RegistryError::unusable(folder, format!("{NAME}: {error}"));
        let path = folder.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unusable(error)),
        };
        let (lines, whole) = read(&bytes).map_err(|cause| RegistryError::damaged(folder, cause))?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(unusable)?;
        if whole < bytes.len() {
            tracing::warn!(path = %path.display(), cut = bytes.len() - whole, "the journal's last line is not whole: a crash left it");
            file.set_len(whole as u64).map_err(unusable)?;
        }
        let mut journal = Self { file, failed: false };
        if whole == 0 {
            let header = Header { format: FORMAT.into(), version: VERSION };
            journal.write(&header).and_then(|()| File::open(folder)?.sync_all()).map_err(unusable)?;
        }
        Ok((journal, lines))
    }

    /// Returns once the line is on disk.
    pub(super) fn append(&mut self, line: &Line) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write of its journal failed: mend the disk and start again"));
        }
        self.write(line)
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let json = serde_json::to_string(line)?;
        let text = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        self.failed |= written.is_err();
        written
    }
}

/// The lines, and how many bytes they take: less than there are where the last one is not whole.
fn read(bytes: &[u8]) -> Result<(Vec<Line>, usize), String> {
    let (mut lines, mut whole) = (Vec::new(), 0);
    for (number, text) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let is_last = whole + text.len() == bytes.len();
        let json = match verified(text) {
            Some(json) => json,
            None if is_last => break,
            None => {
                return Err(format!("line {number} of its {NAME} does not verify: restore that file from a backup"));
            }
        };
        let wrong = |error: serde_json::Error| format!("line {number} of its {NAME} is not of this Millrace: {error}");
        if number == 1 {
            let Header { format, version } = serde_json::from_slice(json).map_err(wrong)?;
            if format != FORMAT || version != VERSION {
                return Err(format!(
                    "its {NAME} is of format {format} {version}; this Millrace reads {FORMAT} {VERSION}"
                ));
            }
        } else {
            lines.push(serde_json::from_slice(json).map_err(wrong)?);
        }
        whole += text.len();
    }
    Ok((lines, whole))
}

/// The JSON of a line, where it is whole.
fn verified(line: &[u8]) -> Option<&[u8]> {
    let (crc, rest) = line.strip_suffix(b"\n")?.split_at_checked(8)?;
    let json = rest.strip_prefix(b" ")?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    (crc == crc32fast::hash(json)).then_some(json)
}
