//! `millrace udf new`: a UDF's project that builds and whose test passes, to be changed from there.

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::loaded::MANIFEST;
use super::sdk::{self, Language};

/// The longest name.
const LONGEST: usize = 64;

/// Begin a UDF: source, a test with sample rows, and a README
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace udf new --lang rust --kind transform clean
  millrace udf new --lang python --kind aggregate spread

Then: cd clean, millrace udf build, millrace udf test.")]
pub(super) struct NewArgs {
    /// The language
    #[arg(long, value_enum)]
    lang: Language,

    /// Rows in, rows out; or rows folded into a value
    #[arg(long, value_enum)]
    kind: Kind,

    /// The UDF's name: lower-case letters, digits and `_`
    #[arg(value_name = "NAME")]
    name: String,

    /// Where it goes, instead of a folder of its name
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Rows in, rows out: map, filter, several of one
    Transform,
    /// Rows folded into state, and state into a value
    Aggregate,
}

/// Writes it.
pub(super) fn new(args: &NewArgs) -> Result<()> {
    let name = args.name.as_str();
    let ordinary = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if !name.starts_with(|first: char| first.is_ascii_lowercase())
        || !name.chars().all(ordinary)
        || name.len() > LONGEST
    {
        bail!(
            "`{name}` cannot be a UDF's name: begin with a lower-case letter, go on with those, digits and `_`, as in `speed_kmh`"
        );
    }
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from(name));
    let is_empty = match fs::read_dir(&folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    if !is_empty {
        bail!("{} is there already: name another one with --folder", folder.display());
    }
    let (kind, a_kind) = match args.kind {
        Kind::Transform => ("transform", "A transform"),
        Kind::Aggregate => ("aggregate", "An aggregate"),
    };
    let (source, capital) = (args.lang.source(name), camel(name));
    let values = [
        ("{{name}}", name),
        ("{{Type}}", &capital),
        ("{{a_kind}}", a_kind),
        ("{{sdk}}", args.lang.sdk()),
        ("{{Language}}", args.lang.said()),
        ("{{source}}", &source),
    ];
    let fill = |text: &str| values.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    sdk::begin(args.lang, kind, &folder, &fill)?;
    let manifest = format!("name = \"{name}\"\nlanguage = \"{}\"\nsdk = \"{}\"\n", args.lang.name(), sdk::VERSION);
    fs::write(folder.join(MANIFEST), manifest).with_context(|| folder.display().to_string())?;
    sdk::lay(args.lang, &folder)?;
    let folder = folder.display();
    let said = format!(
        "{folder}: {} in {}, in {folder}/{source}\n\n  cd {folder}\n  millrace udf build\n  millrace udf test\n",
        a_kind.to_lowercase(),
        args.lang.said()
    );
    stdout().lock().write_all(said.as_bytes()).or_else(super::super::closed_pipe).context("standard output")
}

/// `speed_kmh` as `SpeedKmh`.
fn camel(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split('_').map(part).collect()
}
