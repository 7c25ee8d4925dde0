//! `audit.jsonl` in the data folder: who changed what, and who was refused.
//!
//! A line an attempt, an object in JSON:
//! ```text
//! {"when":"2026-01-31T12:00:00.000Z","who":"ci","method":"POST","path":"/v1/udfs/distance/versions","status":201,"what":"…"}
//! ```
//! `who` is the token's name, `operator` where there are no tokens, empty where nobody knows. Always true: no token is in
//! it; what only looks is not in it, unless it was refused; it takes at most some 80 MiB: a full file becomes
//! `audit.jsonl.1`, and so on to `.4`. Of refusals at most sixty a minute have a line, so that nobody can push out what
//! was there before; the next line says in `left_out` how many had none. Lines are not synced one by one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::super::catalog::shown;
use super::Shared;
use crate::time::{Micros, SECOND, rfc3339};

/// The file in the data folder.
pub(super) const FILE: &str = "audit.jsonl";

/// How long a file grows, and how many older ones are kept.
const MOST_BYTES: u64 = 16 << 20;
const OLDER: u32 = 4;

/// How many refusals of a minute have a line.
const REFUSALS: u64 = 60;

/// What a handler says of what it has done, as an extension of its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct What(pub(super) String);

/// An attempt.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    when: String,
    who: String,
    method: String,
    path: String,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    #[serde(skip_serializing_if = "is_none")]
    left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Line {
    /// One whose time is not set yet.
    pub(super) fn new(who: &str, method: &str, path: &str, status: u16, what: Option<String>) -> Self {
        let (method, path) = (shown(method).into_owned(), shown(path).into_owned());
        Self { when: String::new(), who: who.into(), method, path, status, what, left_out: 0 }
    }
}

/// The log; clones are the same one.
#[derive(Clone)]
pub struct Audit(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    file: File,
    size: u64,
    /// The minute of the last refusal, and how many it has had.
    minute: i64,
    refusals: u64,
    left_out: u64,
}

impl Audit {
    /// Opens the log in the data folder, made where there is none.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let (file, size) = append_to(&path)?;
        Ok(Self(Arc::new(Mutex::new(Inner { path, file, size, minute: i64::MIN, refusals: 0, left_out: 0 }))))
    }

    fn write(&self, mut line: Line, refused: bool, now: Micros) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused && !inner.has_room(now) {
            inner.left_out += 1;
            return Ok(());
        }
        line.when = rfc3339(now);
        line.left_out = std::mem::take(&mut inner.left_out);
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        if inner.size + text.len() as u64 > MOST_BYTES {
            inner.turn_over()?;
        }
        inner.size += text.len() as u64;
        inner.file.write_all(text.as_bytes())
    }
}

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

impl Inner {
    fn has_room(&mut self, now: Micros) -> bool {
        let minute = now.div_euclid(60 * SECOND);
        if minute != self.minute {
            (self.minute, self.refusals) = (minute, 0);
        }
        self.refusals += 1;
        self.refusals <= REFUSALS
    }

    /// Begins a new file.
    fn turn_over(&mut self) -> io::Result<()> {
        let older = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..OLDER).rev() {
            match fs::rename(older(number), older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, older(1))?;
        (self.file, self.size) = append_to(&self.path)?;
        Ok(())
    }
}

/// Writes a line, where that holds no other request up.
pub(super) async fn write(shared: &Shared, line: Line, refused: bool) {
    let Some(audit) = shared.admin.audit.clone() else { return };
    let now = shared.admin.clock.now();
    let written = tokio::task::spawn_blocking(move || audit.write(line, refused, now)).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "an operator's request has no line in {FILE}"),
        Err(error) => tracing::error!(%error, "an operator's request has no line in {FILE}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn refusals_are_bounded_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        let line = |who| Line::new(who, "POST", "/v1/x", 401, None);
        for _ in 0..100 {
            audit.write(line(""), true, 0).unwrap();
        }
        audit.write(line("ann"), false, SECOND).unwrap();
        audit.write(line(""), true, 60 * SECOND).unwrap();
        let lines = lines(&folder.path().join(FILE));
        assert_eq!(lines.len(), 62);
        let ann = serde_json::json!({
            "when": "1970-01-01T00:00:01.000Z", "who": "ann", "method": "POST", "path": "/v1/x", "status": 401,
            "left_out": 40
        });
        assert_eq!((&lines[60], lines[61].get("left_out")), (&ann, None));
    }

    #[test]
    fn a_full_file_makes_way_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        let what = "x".repeat(usize::try_from(MOST_BYTES / 2).unwrap());
        for number in 0..7 {
            let line = Line::new(&number.to_string(), "POST", "/", 200, Some(what.clone()));
            audit.write(line, false, 0).unwrap();
        }
        let who = |name: &str| lines(&folder.path().join(name))[0]["who"].clone();
        assert_eq!(
            (who("audit.jsonl"), who("audit.jsonl.1"), who("audit.jsonl.4")),
            ("6".into(), "5".into(), "2".into())
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
        Audit::open(folder.path()).unwrap().write(Line::new("7", "POST", "/", 200, None), false, 0).unwrap();
        assert_eq!(lines(&folder.path().join(FILE)).len(), 2, "a start goes on with the file");
    }
}
