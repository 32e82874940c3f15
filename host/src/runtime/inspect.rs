//! What the bytes of a file say about it, without compiling or running anything.
//!
//! The first questions asked of a file that somebody dropped into the folder: is it WebAssembly at all, is
//! it a component, what does it need, which language made it.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wasmparser::{
    CanonicalFunction, Encoding, KnownCustom, Parser, Payload, ProducersSectionReader,
};

use crate::runtime::Error;

/// Version of the package `isomer:service` that this node speaks.
pub const WORLD_VERSION: &str = "0.1.0";

/// What this node offers to services.
const ISOMER_INTERFACES: [&str; 13] = [
    "isomer:service/types",
    "isomer:service/broker",
    "isomer:service/streams",
    "isomer:service/cacher",
    "isomer:service/logger",
    "isomer:service/config",
    "isomer:service/broker-async",
    "isomer:service/streams-async",
    "isomer:service/cacher-async",
    "isomer:service/timers",
    "isomer:service/spans",
    "isomer:service/tracing",
    "isomer:service/tracing-async",
];
/// Packages of WASI 0.2 that this node offers.
const WASI_PACKAGES: [&str; 7] = [
    "wasi:cli",
    "wasi:clocks",
    "wasi:filesystem",
    "wasi:http",
    "wasi:io",
    "wasi:random",
    "wasi:sockets",
];
/// What imports could be wanted for, and the grant that decides.
const WANTS: [(&str, &str); 3] = [
    ("wasi:filesystem/types", "dirs"),
    ("wasi:http/outgoing-handler", "hosts"),
    ("wasi:sockets/tcp", "tcp"),
];

/// Deepest nesting of components and modules in a file.
const DEPTH_MAX: usize = 32;
/// Most imports, exports and producers that are listed.
const NAMES_MAX: usize = 1_000;

/// What a component is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Bytes of the file.
    pub size: usize,
    /// SHA-256 of the file, in lower-case hex.
    pub sha256: String,
    /// Imported instances and functions, with versions.
    pub imports: Vec<String>,
    /// Exported instances and functions, with versions.
    pub exports: Vec<String>,
    /// What made it, as `name version`: languages, compilers, SDKs.
    pub producers: Vec<String>,
    /// Its language, as the compiler wrote it down; empty when it did not.
    pub language: String,
    /// Whether it exports anything with the asynchronous calling convention.
    pub asynchronous: bool,
}

impl Inspection {
    /// Reads a component.
    ///
    /// # Errors
    /// [`Error::NotWasm`], [`Error::CoreModule`], or [`Error::Invalid`] when it is cut off or broken.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        check_kind(bytes)?;
        let mut inspection =
            Self { size: bytes.len(), sha256: hex(&Sha256::digest(bytes)), ..Self::default() };
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| invalid(&error))? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        let reason = format!("nested deeper than {DEPTH_MAX} levels");
                        return Err(Error::Invalid { reason });
                    }
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload => inspection.note(payload, depth == 0).map_err(|e| invalid(&e))?,
            }
        }
        Ok(inspection)
    }

    /// Imports that this node does not have.
    #[must_use]
    pub fn unknown_imports(&self) -> Vec<&str> {
        let known = |name: &str| {
            let interface = name.split('@').next().unwrap_or_default();
            let package = interface.split('/').next().unwrap_or_default();
            (ISOMER_INTERFACES.contains(&interface) && is_this_version(name))
                || (WASI_PACKAGES.contains(&package) && name.contains("@0.2."))
        };
        self.imports.iter().map(String::as_str).filter(|name| !known(name)).collect()
    }

    /// The grants that its imports could make use of. Many languages import files whether a program uses them or
    /// not.
    #[must_use]
    pub fn wants(&self) -> Vec<&'static str> {
        let imports = |interface: &str| {
            self.imports.iter().any(|name| name.split('@').next() == Some(interface))
        };
        let wanted = WANTS.into_iter().filter(|(interface, _)| imports(interface));
        wanted.map(|(_, grant)| grant).collect()
    }

    fn note(&mut self, payload: Payload<'_>, outermost: bool) -> wasmparser::Result<()> {
        match payload {
            Payload::ComponentImportSection(section) if outermost => {
                for import in section.into_iter().take(NAMES_MAX) {
                    self.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if outermost => {
                for export in section.into_iter().take(NAMES_MAX) {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    if let CanonicalFunction::Lift { options, .. } = function? {
                        let is_async = options
                            .iter()
                            .any(|option| matches!(option, wasmparser::CanonicalOption::Async));
                        self.asynchronous |= is_async;
                    }
                }
            }
            Payload::CustomSection(section) => {
                // Producers are for people; a broken section is no reason to refuse the component.
                if let KnownCustom::Producers(producers) = section.as_known() {
                    let _ = self.note_producers(producers);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note_producers(&mut self, section: ProducersSectionReader<'_>) -> wasmparser::Result<()> {
        for field in section {
            let field = field?;
            for value in field.values {
                let value = value?;
                if field.name == "language" && self.language.is_empty() {
                    self.language = value.name.to_owned();
                }
                let producer = format!("{} {}", value.name, value.version).trim_end().to_owned();
                if !self.producers.contains(&producer) && self.producers.len() < NAMES_MAX {
                    self.producers.push(producer);
                }
            }
        }
        Ok(())
    }
}

/// Whether a name of the package `isomer:service` has a version that this node speaks: below 1.0, versions
/// with the same minor number match.
pub(super) fn is_this_version(name: &str) -> bool {
    name.split_once('@').is_some_and(|(_, version)| version.starts_with("0.1."))
}

fn check_kind(bytes: &[u8]) -> Result<(), Error> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Error::NotWasm { begins: beginning(bytes) });
    }
    match Parser::new(0).parse_all(bytes).next() {
        Some(Ok(Payload::Version { encoding: Encoding::Component, .. })) => Ok(()),
        Some(Ok(Payload::Version { encoding: Encoding::Module, .. })) => Err(Error::CoreModule),
        Some(Err(error)) => Err(invalid(&error)),
        _ => Err(Error::Invalid { reason: "it has no header".into() }),
    }
}

/// The first characters of a file, so that a person recognises it.
fn beginning(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "it is empty".into();
    }
    let start = String::from_utf8_lossy(bytes.get(..bytes.len().min(24)).unwrap_or_default());
    format!("it begins with {start:?}")
}

fn invalid(error: &wasmparser::BinaryReaderError) -> Error {
    Error::Invalid { reason: format!("{} at byte {}", error.message(), error.offset()) }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_component_are_told_apart() {
        let check = |bytes: &[u8], expected: &str| {
            let text = Inspection::read(bytes).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        };
        check(b"", "it is empty");
        check(b"hello, I am text", "begins with \"hello, I am text\"");
        check(b"\0asm\x01\0\0\0", "core module");
        check(b"\0asm", "unexpected end");
        check(b"\0asm\x0d\0\x01\0\x07\xff", "unexpected end");
    }

    #[test]
    fn the_smallest_component_needs_nothing() {
        let inspection = Inspection::read(b"\0asm\x0d\0\x01\0").unwrap();
        assert!(inspection.imports.is_empty() && inspection.exports.is_empty());
        assert_eq!(inspection.size, 8);
    }

    #[test]
    fn imports_from_elsewhere_are_named() {
        let imports = ["wasi:io/poll@0.2.6", "isomer:service/broker@0.1.3"].map(str::to_owned);
        let foreign = ["wasi:nn/tensor@0.2.0", "isomer:service/broker@0.2.0"].map(str::to_owned);
        let inspection =
            Inspection { imports: [imports, foreign].concat(), ..Inspection::default() };
        let unknown = inspection.unknown_imports();
        assert_eq!(unknown, ["wasi:nn/tensor@0.2.0", "isomer:service/broker@0.2.0"]);
    }

    #[test]
    fn components_within_components_are_bounded() {
        let nested = |levels: usize| {
            (1..levels).fold(b"\0asm\x0d\0\x01\0".to_vec(), |inner, _| {
                // Section 4 is a component; its size is an LEB128 number of two bytes.
                let size = u8::try_from(inner.len() % 128).unwrap() | 0x80;
                let more = u8::try_from(inner.len() / 128).unwrap();
                [b"\0asm\x0d\0\x01\0\x04", &[size, more][..], &inner].concat()
            })
        };
        assert!(Inspection::read(&nested(1 + DEPTH_MAX)).is_ok());
        let error = Inspection::read(&nested(2 + DEPTH_MAX)).unwrap_err().to_string();
        assert!(error.contains("nested deeper than 32 levels"), "{error}");
    }
}
