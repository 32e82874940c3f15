//! A component from the core module that a compiler for C, or any other that knows nothing of components, has
//! written against the WIT package.
//!
//! The module's exports say which world it is for. What it imports of the old WASI goes through wasmtime's adapter. The
//! type of the component is added here, so that no object file with it has to be linked.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve, SourceMap};

use super::sdk;

/// What a module exports when it is for a world. The longer names first, because they begin alike.
const WORLDS: [(&str, &str); 3] = [
    ("isomer:service/handler-async@", "service-async"),
    ("isomer:service/handler@", "service"),
    ("isomer:service/interceptor@", "middleware"),
];

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no module at all.
    #[error("this is no WebAssembly module: {0}")]
    NoModule(#[source] wasmparser::BinaryReaderError),
    /// It is a component already.
    #[error("this is a component already; it can be put into a folder of services as it is")]
    Component,
    /// It has none of the exports of a service.
    #[error(
        "this module exports nothing of a service; its functions have to have names such as \
         'isomer:service/handler@0.1.0#describe' (see docs/wit.md)"
    )]
    NoService,
    /// It does not fit the world.
    #[error("this module does not fit the world '{world}': {reason}")]
    Unfit {
        /// The world that its exports are of.
        world: &'static str,
        /// What does not fit.
        reason: String,
    },
}

/// Makes a component of a core module.
///
/// # Errors
/// [`Error`]: each variant is one reason.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, Error> {
    let world = world(module)?;
    let unfit = |error: anyhow::Error| Error::Unfit { world, reason: format!("{error:#}") };
    encode(module, world).map_err(unfit)
}

fn encode(module: &[u8], world: &str) -> anyhow::Result<Vec<u8>> {
    let (resolve, package) = package()?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default()
        .module(&module)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .validate(true)
        .encode()
}

/// The WIT package that this program was built with.
fn package() -> anyhow::Result<(Resolve, PackageId)> {
    let mut sources = SourceMap::default();
    for (path, text) in sdk::files_below("wit/") {
        // What else lies there (its manifest for registries) is no WIT.
        if path.ends_with(".wit") {
            sources.push_str(path, std::str::from_utf8(text)?);
        }
    }
    let group = sources.parse().map_err(|(_, error)| anyhow::anyhow!("{error}"))?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group)?;
    Ok((resolve, package))
}

/// The world that a module is for.
fn world(module: &[u8]) -> Result<&'static str, Error> {
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(Error::NoModule)? {
            Payload::Version { encoding: wasmparser::Encoding::Component, .. } => {
                return Err(Error::Component);
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let name = export.map_err(Error::NoModule)?.name;
                    let found = WORLDS.iter().find(|(prefix, _)| name.starts_with(prefix));
                    if let Some((_, world)) = found {
                        return Ok(world);
                    }
                }
            }
            _ => {}
        }
    }
    Err(Error::NoService)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_service_is_refused_with_the_reason() {
        let module = b"\0asm\x01\0\0\0";
        assert!(matches!(componentize(module), Err(Error::NoService)));
        let component = b"\0asm\x0d\0\x01\0";
        assert!(matches!(componentize(component), Err(Error::Component)));
        assert!(matches!(componentize(b"text"), Err(Error::NoModule(_))));
        // An export of the right name with another type: (func) instead of (func (result i32)).
        let name = b"isomer:service/handler@0.1.0#describe";
        let mut module = module.to_vec();
        module.extend_from_slice(&[1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7]);
        module.extend_from_slice(&[u8::try_from(name.len() + 4).unwrap(), 1]);
        module.push(u8::try_from(name.len()).unwrap());
        module.extend_from_slice(name);
        module.extend_from_slice(&[0, 0, 10, 4, 1, 2, 0, 0x0b]);
        let error = componentize(&module).unwrap_err();
        assert!(matches!(error, Error::Unfit { world: "service", .. }), "{error}");
    }

    #[test]
    fn the_package_in_the_binary_has_all_worlds() {
        let (resolve, package) = package().unwrap();
        for (_, world) in WORLDS {
            // The asynchronous world is there when the package has it.
            if resolve.packages[package].worlds.contains_key(world) {
                assert!(resolve.select_world(&[package], Some(world)).is_ok(), "{world}");
            }
        }
        assert!(resolve.packages[package].worlds.contains_key("service"));
    }
}
