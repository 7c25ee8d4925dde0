//! From a core module to a component: what C's and Go's compilers do not do themselves.
//!
//! A core module names what it exports and imports after the contract (`millrace:feature/transform@0.1.0#apply`). The
//! component's type is made of just those interfaces, so no metadata has to be linked into the module, and a library that
//! brings both kinds of UDF costs nothing. Whether the functions have the contract's shape is checked on the way.
//!
//! Languages whose runtime wants WASI get a stub of it: a clock that stands still, random numbers that are
//! always the same, and nowhere to write. So a component imports the contract's `log` and nothing else, and gives the
//! same bits wherever it runs.

mod stub;

use std::collections::BTreeSet;

use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract, as this tool was built with it.
const CONTRACT: &str = include_str!("../../../wit/feature.wit");

/// The world that is made up of what a module has.
const WORLD: &str = "built";

/// What the contract's names begin with, in a module.
const PACKAGE: &str = "millrace:feature/";

/// Makes a component of a core module.
///
/// # Errors
/// The bytes are no module, it holds no UDF, wants more than a UDF may have, or its functions are not the contract's.
pub fn component(module: &[u8]) -> Result<Vec<u8>, String> {
    let Surface { exports, imports, wasi, unknown } = surface(module)?;
    if let Some(module) = unknown.first() {
        return Err(format!(
            "it imports `{module}`, which no UDF can have: is a function declared that no library defines?"
        ));
    }
    if exports.is_empty() {
        return Err(format!(
            "it exports nothing of the contract, such as `{PACKAGE}transform@0.1.0#apply`: is there an EXPORT, or a \
             Register, for each UDF?"
        ));
    }
    let (resolve, world) = world(&exports, &imports)?;
    let mut module = module.to_vec();
    let failed = |error: &dyn std::fmt::Debug| format!("{error:?}");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(|error| failed(&error))?;
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).map_err(|error| failed(&error))?;
    if !wasi.is_empty() {
        let stub = stub::module(&wasi)?;
        encoder = encoder.adapter(stub::MODULE, &stub).map_err(|error| failed(&error))?;
    }
    encoder.encode().map_err(|error| failed(&error))
}

/// What a module has of the contract, and what it wants besides.
#[derive(Default)]
struct Surface {
    /// The interfaces that it exports: `transform`.
    exports: BTreeSet<String>,
    /// Those that it imports: `log`.
    imports: BTreeSet<String>,
    /// The functions of WASI that it wants.
    wasi: BTreeSet<String>,
    /// Modules that nobody provides.
    unknown: Vec<String>,
}

fn surface(module: &[u8]) -> Result<Surface, String> {
    if !Parser::is_core_wasm(module) {
        return Err("it is not a core WebAssembly module".to_owned());
    }
    let invalid = |error: wasmparser::BinaryReaderError| format!("it is not a valid module: {error}");
    let mut surface = Surface::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(invalid)?;
                    match interface(import.module) {
                        Some(interface) => {
                            surface.imports.insert(interface.to_owned());
                        }
                        None if import.module == stub::MODULE => {
                            surface.wasi.insert(import.name.to_owned());
                        }
                        None => surface.unknown.push(format!("{}.{}", import.module, import.name)),
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let name = export.map_err(invalid)?.name;
                    let interface = name.split_once('#').and_then(|(interface_name, _)| interface(interface_name));
                    surface.exports.extend(interface.map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

/// `millrace:feature/log@0.1.0` as `log`.
fn interface(name: &str) -> Option<&str> {
    name.strip_prefix(PACKAGE)?.split('@').next()
}

/// The world of exactly these interfaces.
fn world(exports: &BTreeSet<String>, imports: &BTreeSet<String>) -> Result<(Resolve, wit_parser::WorldId), String> {
    let lines = |verb: &str, names: &BTreeSet<String>| {
        names.iter().map(|name| format!("    {verb} {name};\n")).collect::<String>()
    };
    let text = format!("{CONTRACT}\nworld {WORLD} {{\n{}{}}}\n", lines("import", imports), lines("export", exports));
    let mut resolve = Resolve::default();
    let package = resolve.push_str("feature.wit", &text).map_err(|error| format!("{error:?}"))?;
    let world = resolve.select_world(&[package], Some(WORLD)).map_err(|error| format!("{error:?}"))?;
    Ok((resolve, world))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(text: &str) -> Result<Vec<u8>, String> {
        component(&wat::parse_str(text).unwrap())
    }

    const TRANSFORM: &str = r#"
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "millrace:feature/transform@0.1.0#names") (result i32) unreachable)
        (func (export "millrace:feature/transform@0.1.0#bind") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "millrace:feature/transform@0.1.0#apply") (param i32 i32 i32) (result i32) unreachable)"#;

    #[test]
    fn a_module_becomes_a_component_of_what_it_has() {
        let bytes = built(&format!("(module {TRANSFORM})")).unwrap();
        assert!(Parser::is_component(&bytes));
    }

    #[test]
    fn wasi_is_gone() {
        let text = format!(
            r#"(module
                (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
                (func (export "_initialize") (drop (call $random (i32.const 0) (i32.const 8))))
                {TRANSFORM})"#
        );
        let bytes = built(&text).unwrap();
        for payload in Parser::new(0).parse_all(&bytes) {
            if let Payload::ComponentImportSection(section) = payload.unwrap() {
                section.into_iter().for_each(|import| assert!(!import.unwrap().name.name.contains("wasi")));
            }
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        let error = built(&format!(r#"(module (import "env" "sqrtt" (func (param f64) (result f64))) {TRANSFORM})"#));
        assert_eq!(
            error.unwrap_err(),
            "it imports `env.sqrtt`, which no UDF can have: is a function declared that no library defines?"
        );
        let error = built(&format!(r#"(module (import "wasi_snapshot_preview1" "sock_accept" (func)) {TRANSFORM})"#));
        assert_eq!(
            error.unwrap_err(),
            "it calls `sock_accept` of WASI, and a UDF has no files, no network and no processes"
        );
        assert!(built("(module)").unwrap_err().starts_with("it exports nothing of the contract"));
        assert_eq!(component(b"nothing").unwrap_err(), "it is not a core WebAssembly module");
        let other = TRANSFORM.replace("(param i32 i32 i32) (result", "(param i32 i32) (result");
        let error = built(&format!("(module {other})")).unwrap_err();
        assert!(error.contains("type mismatch"), "{error}");
    }
}
