//! The SDKs that this binary brings: laid down in a UDF's project, so that it builds with the SDK of the host that runs it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// Every file of the SDKs and the contract, by its path in the repository.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// Where it is in a UDF's project.
pub(super) const FOLDER: &str = ".millrace/sdk";

/// The version of the SDKs, which is that of this binary.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A language that UDFs are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Rust
    Rust,
    /// Python
    Python,
    /// JavaScript and TypeScript
    #[value(alias = "typescript", alias = "js", alias = "ts")]
    Javascript,
    /// Go
    Go,
    /// C
    C,
    /// C++
    #[value(alias = "c++")]
    Cpp,
}

impl Language {
    /// As files and folders call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Go => "go",
            Self::C => "c",
            Self::Cpp => "cpp",
        }
    }

    /// The folder of its SDK, which two languages may share, and the name of what builds it.
    pub(super) fn sdk(self) -> &'static str {
        match self {
            Self::Cpp => Self::C.name(),
            other => other.name(),
        }
    }

    /// As people call it.
    pub(super) fn said(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Javascript => "TypeScript",
            Self::Go => "Go",
            Self::C => "C",
            Self::Cpp => "C++",
        }
    }

    /// The file that the template's logic is in.
    pub(super) fn source(self, name: &str) -> String {
        match self {
            Self::Rust => "src/lib.rs".into(),
            Self::Python => format!("{name}.py"),
            Self::Javascript => format!("{name}.ts"),
            Self::Go => "main.go".into(),
            Self::C => format!("{name}.c"),
            Self::Cpp => format!("{name}.cpp"),
        }
    }

    /// The language of this name.
    pub(super) fn parse(name: &str) -> Result<Self> {
        let found = Self::value_variants().iter().copied().find(|language| language.name() == name);
        found.with_context(|| {
            let names: Vec<_> = Self::value_variants().iter().map(|language| language.name()).collect();
            format!("there is no SDK for `{name}`; there are {}", names.join(", "))
        })
    }
}

/// Lays the SDK of a language down in a UDF's project, and gives its folder. What is there already and is the same stays
/// untouched, so that nothing is built anew for it.
pub(super) fn lay(language: Language, project: &Path) -> Result<PathBuf> {
    let folder = project.join(FOLDER);
    let own = format!("guest-sdk/{}/", language.sdk());
    let wanted = |path: &str| {
        path.starts_with(&own)
            || path.starts_with("wit/")
            || path.starts_with("guest-sdk/toolchain/")
            || matches!(path, "guest-sdk/build" | "guest-sdk/README.md")
    };
    for (path, bytes) in FILES.iter().filter(|(path, _)| wanted(path)) {
        write(&folder.join(path), bytes)?;
    }
    Ok(folder)
}

/// Writes the template of a UDF: what all have, what the kind has, what the language has, and what both have.
pub(super) fn begin(language: Language, kind: &str, project: &Path, fill: &dyn Fn(&str) -> String) -> Result<()> {
    let of = |path: &str| format!("guest-sdk/template/{path}/");
    let language = language.name();
    let parts = [of("common"), of(kind), of(&format!("{language}/common")), of(&format!("{language}/{kind}"))];
    let mut written = 0;
    for part in &parts {
        for (path, bytes) in FILES.iter().filter_map(|(path, bytes)| Some((path.strip_prefix(part.as_str())?, bytes))) {
            let text = std::str::from_utf8(bytes).with_context(|| format!("the template {path}"))?;
            write(&project.join(named(&fill(path))), fill(text).as_bytes())?;
            written += usize::from(part.contains(&format!("/{language}/")));
        }
    }
    if written == 0 {
        bail!("there is no template for a {kind} in {language}");
    }
    Ok(())
}

/// The path that a template's file gets: `dot-` is a dot, since files with one in front are easily lost, and `.in` goes,
/// which keeps tools from taking a template for what it will be.
fn named(path: &str) -> PathBuf {
    let path = path.strip_suffix(".in").unwrap_or(path);
    let part = |part: Component<'_>| {
        let text = part.as_os_str().to_string_lossy().into_owned();
        text.strip_prefix("dot-").map(|rest| format!(".{rest}")).unwrap_or(text)
    };
    Path::new(path).components().map(part).collect()
}

/// Writes a file that lacks or is another; scripts can be run.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|known| known == bytes) {
        return Ok(());
    }
    let said = || path.display().to_string();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(said)?;
    }
    fs::write(path, bytes).with_context(said)?;
    #[cfg(unix)]
    if bytes.starts_with(b"#!") {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(said)?;
    }
    Ok(())
}
