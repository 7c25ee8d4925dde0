//! `millrace token`: tokens for operators.

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand, ValueEnum};
use millrace::store::registry::Digest;

/// How many random bytes a token has.
const BYTES: usize = 32;

/// What a token begins with, so that one that leaked is found.
const PREFIX: &str = "millrace_";

/// Make tokens for operators
#[derive(Debug, Args)]
pub(super) struct TokenCommands {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a new token, and the entry of `serve.tokens` that knows it by its SHA-256
    New(NewArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The first line is the token, which is kept nowhere: give it to whoever is to ask. The second goes into the project file:
  [serve]
  tokens = [ <the second line> ]

Examples:
  millrace token new --name ann
  millrace token new --name dashboard --role read")]
struct NewArgs {
    /// Whose it is: the name stands in the audit log
    #[arg(long, default_value = "operator")]
    name: String,

    /// What it is good for: looking, or changing what runs too
    #[arg(long, value_enum, default_value = "deploy")]
    role: Role,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Looking
    Read,
    /// Changing what runs, too
    Deploy,
}

/// Does what is asked for.
pub(super) fn token(args: &TokenCommands) -> Result<()> {
    let Command::New(args) = &args.command;
    let mut secret = [0; BYTES];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut secret).map_err(|_| anyhow!("the system gives no random numbers"))?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let role = match args.role {
        Role::Read => "read",
        Role::Deploy => "deploy",
    };
    let name = toml::Value::from(args.name.as_str());
    println!("{token}");
    println!("{{ name = {name}, sha256 = \"{}\", role = \"{role}\" }}", Digest::of(token.as_bytes()));
    Ok(())
}
