//! `[serve]`: where HTTP and operators are answered, and which operators.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::super::diagnostics::{Span, Spanned};
use super::super::project::{AdminToken, Role, Serve, Tls};
use super::super::section::{Section, Value};

/// More tokens than this are a slip: each is compared with at every request.
const MOST_TOKENS: usize = 256;

/// The longest name of a token: it stands in every line of the audit log.
const MOST_NAME: usize = 128;

pub(super) fn serve(document: &mut Section<'_>, folder: &Path) -> Serve {
    let span = document.span;
    let default = |port| Spanned::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), span);
    let mut serve = Serve { http: default(6566), admin: None, tokens: Vec::new(), tls: None };
    let Some(mut section) = document.get("serve").and_then(|value| value.section()) else { return serve };
    let http = section.get("http").and_then(|value| address(&value));
    serve.http = http.unwrap_or(serve.http);
    let said = section.get("tokens");
    let open = said.as_ref().is_none_or(|value| value.items().is_some_and(|items| items.is_empty()));
    serve.tokens = said.map(|value| tokens(&value)).unwrap_or_default();
    serve.admin = section.get("admin").and_then(|value| reachable(&value, open));
    serve.tls = section.get("tls").and_then(|value| tls(&value, folder));
    section.finish();
    serve
}

/// Without tokens whoever reaches the admin address may change what runs.
fn reachable(value: &Value<'_>, open: bool) -> Option<Spanned<SocketAddr>> {
    let address = address(value)?;
    if address.value.ip().is_loopback() || !open {
        return Some(address);
    }
    value.error(format!(
        "`{}` must be a loopback address such as \"127.0.0.1:6567\" as long as there are no `tokens`: whoever reaches it \
         may change what runs; `millrace token new` makes a token",
        value.name
    ));
    None
}

fn tokens(value: &Value<'_>) -> Vec<AdminToken> {
    let Some(items) = value.items() else { return Vec::new() };
    if items.len() > MOST_TOKENS {
        value.error(format!("there are {} tokens; at most {MOST_TOKENS} may be", items.len()));
    }
    let mut names: HashMap<String, Span> = HashMap::new();
    let mut hashes: HashMap<[u8; 32], String> = HashMap::new();
    let mut tokens = Vec::new();
    for item in items {
        let Some(token) = token(&item) else { continue };
        if names.insert(token.name.clone(), item.span()).is_some() {
            item.error(format!("a token named `{}` is there already", token.name));
        }
        if let Some(other) = hashes.insert(token.sha256, token.name.clone()) {
            item.error(format!("the tokens `{other}` and `{}` are the same: make a new one for each", token.name));
        }
        tokens.push(token);
    }
    tokens
}

fn token(item: &Value<'_>) -> Option<AdminToken> {
    let mut section = item.section()?;
    let name = section.require("name").and_then(|value| {
        let name = value.string()?.value;
        let is_plain = name.len() <= MOST_NAME && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain {
            value.error(format!("a token's name has at most {MOST_NAME} letters, digits and signs of ASCII"));
        }
        is_plain.then_some(name)
    });
    let sha256 = section.require("sha256").and_then(|value| {
        let text = value.string()?.value;
        let hash = hash(&text);
        if hash.is_none() {
            value.error(
                "`sha256` must be the SHA-256 of a token in 64 hexadecimal digits: `millrace token new` prints both",
            );
        }
        hash
    });
    let roles = [("read", Role::Read), ("deploy", Role::Deploy)];
    let role = section.require("role").and_then(|value| value.choice(&roles));
    section.finish();
    Some(AdminToken { name: name?, sha256: sha256?, role: role? })
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(hash)
}

fn tls(value: &Value<'_>, folder: &Path) -> Option<Tls> {
    let mut section = value.section()?;
    let mut path = |key| section.require(key).and_then(|value| value.string()).map(|path| folder.join(path.value));
    let (cert, key) = (path("cert"), path("key"));
    section.finish();
    Some(Tls { cert: cert?, key: key? })
}

fn address(value: &Value<'_>) -> Option<Spanned<SocketAddr>> {
    let text = value.string()?;
    let numeric =
        text.strip_prefix("localhost:").map_or_else(|| text.value.clone(), |port| format!("127.0.0.1:{port}"));
    match numeric.parse() {
        Ok(address) => Some(Spanned::new(address, text.span)),
        Err(_) => {
            value.error(format!("`{}` must be an address and a port such as \"127.0.0.1:6566\"", value.name));
            None
        }
    }
}
