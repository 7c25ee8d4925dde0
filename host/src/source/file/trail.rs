//! Which files a followed source has read, and at which position each began: kept on disk, so that a start finds the file
//! that it was in, whatever that is called by now.
//!
//! A text file for each source, written whole under another name and then renamed:
//! ```text
//! MRFT 1 CHECK              magic, version, and the xxh3_64 of all lines below, in hexadecimal
//! POSITION DEV INO LENGTH HEAD     a file: where it began, its device and inode, and the xxh3_64 of its first LENGTH bytes
//! ```
//! Always true: a file is in it, on disk, before a row of it is given.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

/// How much of a file's beginning tells it from others.
const HEAD: u64 = 1024;

/// How many files are remembered.
const MOST: usize = 256;

/// What nobody reads as lines: a file that was packed after its rotation.
const PACKED: [&str; 5] = ["gz", "zst", "xz", "bz2", "zip"];

/// The files of a source.
#[derive(Debug)]
pub(super) struct Trail {
    path: PathBuf,
    files: Vec<Seen>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    position: u64,
    identity: (u64, u64),
    length: u64,
    head: u64,
}

/// Where to go on.
#[derive(Debug)]
pub(super) struct Found {
    /// The file, which may have another name by now.
    pub(super) path: PathBuf,
    /// The position at which it began.
    pub(super) began: u64,
    /// Files that have come between that one and the one that has the name now, the oldest first.
    pub(super) between: Vec<PathBuf>,
}

impl Trail {
    /// The trail in a file, if there is one; else nothing was read.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let files = match fs::read_to_string(&path) {
            Ok(text) => parse(&text).ok_or_else(|| {
                io::Error::other(format!("{} is damaged: it says which files have been read", path.display()))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, files })
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.files.clear();
    }

    /// A file begins at a position.
    pub(super) fn begin(&mut self, position: u64, file: &File) -> io::Result<()> {
        self.files.retain(|seen| seen.position < position);
        let seen = seen(position, file)?;
        self.files.push(seen);
        let more = self.files.len().saturating_sub(MOST);
        self.files.drain(..more);
        self.write()
    }

    /// The file at the end has more to be told by than it had when it began.
    pub(super) fn grown(&mut self, file: &File, length: u64) -> io::Result<()> {
        let Some(last) = self.files.last_mut() else { return Ok(()) };
        if last.length >= HEAD || length < HEAD && last.length > 0 || length == 0 {
            return Ok(());
        }
        *last = seen(last.position, file)?;
        self.write()
    }

    /// The file that a position is in: the one of this name, or one beside it.
    pub(super) fn find(&self, named: &Path, position: u64) -> io::Result<Found> {
        let known = self.files.iter().rev().find(|seen| seen.position <= position);
        let Some(known) = known else {
            return Ok(Found { path: named.to_owned(), began: 0, between: Vec::new() });
        };
        let place = position - known.position;
        let found = |path: PathBuf| Found { path, began: known.position, between: Vec::new() };
        let beside = beside(named)?;
        // Two files may begin alike; a folder that was moved has other inodes, and so has a copy.
        for by_inode in [true, false] {
            if is(named, known, place, by_inode)? {
                return Ok(found(named.to_owned()));
            }
            for (path, metadata) in &beside {
                if is(path, known, place, by_inode)? {
                    let newer = beside.iter().filter(|(other, of)| other != path && modified(of) > modified(metadata));
                    let mut newer: Vec<&(PathBuf, Metadata)> = newer.collect();
                    newer.sort_by_key(|(_, metadata)| modified(metadata));
                    let between = newer.into_iter().map(|(path, _)| path.clone()).collect();
                    return Ok(Found { between, ..found(path.clone()) });
                }
            }
        }
        Err(io::Error::other(format!(
            "it was read up to byte {place} of a file that has neither this name now nor another one beginning with it: \
             put that file back beside it, or begin afresh with another data-dir"
        )))
    }

    fn write(&self) -> io::Result<()> {
        let lines: String = self
            .files
            .iter()
            .map(|Seen { position, identity, length, head }| {
                format!("{position} {} {} {length} {head:016x}\n", identity.0, identity.1)
            })
            .collect();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(format!("MRFT 1 {:016x}\n{lines}", xxh3_64(lines.as_bytes())).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

fn parse(text: &str) -> Option<Vec<Seen>> {
    let (first, lines) = text.split_once('\n')?;
    let check = first.strip_prefix("MRFT 1 ")?;
    if u64::from_str_radix(check, 16).ok()? != xxh3_64(lines.as_bytes()) {
        return None;
    }
    lines.lines().map(Seen::parse).collect()
}

impl Seen {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let mut number = || parts.next().and_then(|part| u64::from_str(part).ok());
        let (position, identity, length) = (number()?, (number()?, number()?), number()?);
        let head = u64::from_str_radix(parts.next()?, 16).ok()?;
        Some(Self { position, identity, length, head })
    }
}

fn seen(position: u64, file: &File) -> io::Result<Seen> {
    let metadata = file.metadata()?;
    let length = metadata.len().min(HEAD);
    let head = head(file, length)?.unwrap_or_default();
    Ok(Seen { position, identity: (metadata.dev(), metadata.ino()), length, head })
}

/// The hash of a file's beginning; none where it is shorter.
fn head(file: &File, length: u64) -> io::Result<Option<u64>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Some(xxh3_64(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file is one that was read, up to a place in it.
fn is(path: &Path, known: &Seen, place: u64, by_inode: bool) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let same = known.identity == (metadata.dev(), metadata.ino());
    // Without a beginning only the inode tells.
    if metadata.len() < place || (by_inode || known.length == 0) && !same {
        return Ok(false);
    }
    Ok(head(&file, known.length)? == Some(known.head))
}

/// The files whose names begin as this one's.
fn beside(named: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let folder = named.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = named.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        let own = entry.file_name().to_string_lossy().starts_with(&name) && path != named && metadata.is_file();
        let packed = path.extension().is_some_and(|end| PACKED.iter().any(|packed| end == *packed));
        if own && !packed {
            files.push((path, metadata));
        }
    }
    Ok(files)
}

fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1, as it is on disk.
    const FIXTURE: &str = "MRFT 1 31fdd2d0542846d0\n0 64 12 5 9555e8555c62dcfd\n";

    #[test]
    fn what_is_written_reads_and_a_damaged_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("followed/cards"), folder.path().join("cards.jsonl"));
        fs::write(&log, "hello").unwrap();
        let mut trail = Trail::open(path.clone()).unwrap();
        assert!(trail.is_empty());
        trail.begin(0, &File::open(&log).unwrap()).unwrap();
        trail.begin(7, &File::open(&log).unwrap()).unwrap();
        assert_eq!(Trail::open(path.clone()).unwrap().files, trail.files);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("MRFT 1 "), "{text}");
        fs::write(&path, text.replace("\n7 ", "\n8 ")).unwrap();
        assert!(Trail::open(path).unwrap_err().to_string().contains("is damaged"));
    }

    #[test]
    fn a_trail_of_version_1_reads() {
        let known = Seen { position: 0, identity: (64, 12), length: 5, head: 0x9555_e855_5c62_dcfd };
        assert_eq!(parse(FIXTURE).unwrap(), [known]);
    }
}
