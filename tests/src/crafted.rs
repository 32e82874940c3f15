//! Components that no compiler would write: any number of memories and tables, any text as a schema, a `started`
//! that never ends.
//!
//! A core module is put together byte by byte, and made a component as `isomer componentize` does. Its actions and
//! events trap.

use isomer_host::toolchain::componentize::componentize;

/// Where the schema begins in the memory; before it lie address and length, which `describe` gives.
const SCHEMA_AT: u32 = 16;

/// How a component is made.
#[derive(Clone, Debug)]
pub struct Crafted {
    /// What `describe` gives; bytes that follow are zeros.
    pub schema: Vec<u8>,
    /// How long the schema is said to be; its own length when `None`.
    pub schema_len: Option<u32>,
    /// Linear memories.
    pub memories: u32,
    /// Pages of 64 KiB of each of them, beside what the schema needs.
    pub pages: u32,
    /// Tables.
    pub tables: u32,
    /// Elements of each of them.
    pub elements: u32,
    /// Whether `started` never ends.
    pub endless_start: bool,
}

impl Crafted {
    /// The least that is a component, with this schema.
    #[must_use]
    pub fn with_schema(schema: impl Into<Vec<u8>>) -> Self {
        Self {
            schema: schema.into(),
            schema_len: None,
            memories: 1,
            pages: 1,
            tables: 1,
            elements: 1,
            endless_start: false,
        }
    }

    /// The least that is a service of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let lifecycle = serde_json::json!({"lifecycle": []});
        Self::with_schema(serde_json::json!({"name": name, "isomer": lifecycle}).to_string())
    }

    /// The component.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        componentize(&self.module()).unwrap()
    }

    fn module(&self) -> Vec<u8> {
        const I32: u8 = 0x7f;
        const FUNCREF: u8 = 0x70;
        let function = |n_params: usize| {
            let params: Vec<Vec<u8>> = vec![vec![I32]; n_params];
            [vec![0x60], vector(&params), vec![1, I32]].concat()
        };
        // describe, started and stopped, call-action and handle-event, cabi_realloc
        let types = [function(0), function(1), function(6), function(4)];
        let types_of_functions = [0_u8, 1, 1, 2, 2, 3].map(|kind| vec![kind]);
        let tables: Vec<_> =
            (0..self.tables).map(|_| [vec![FUNCREF, 0], number(self.elements)].concat()).collect();
        let own = SCHEMA_AT + u32::try_from(self.schema.len()).unwrap();
        let first = self.pages + own.max(self.said_len() + SCHEMA_AT).div_ceil(64 << 10);
        let memories: Vec<_> = (0..self.memories)
            .map(|n| [vec![0], number(if n == 0 { first } else { self.pages })].concat())
            .collect();
        let functions = [
            "isomer:service/handler@0.1.0#describe",
            "isomer:service/handler@0.1.0#started",
            "isomer:service/handler@0.1.0#stopped",
            "isomer:service/handler@0.1.0#call-action",
            "isomer:service/handler@0.1.0#handle-event",
            "cabi_realloc",
        ];
        let mut exports: Vec<_> = (0_u8..)
            .zip(functions)
            .map(|(index, name)| [text(name), vec![0, index]].concat())
            .collect();
        exports.push([text("memory"), vec![2, 0]].concat());
        let code: Vec<_> = (0..functions.len()).map(|index| self.code(index)).collect();
        [
            b"\0asm\x01\0\0\0".to_vec(),
            section(1, &vector(&types)),
            section(3, &vector(&types_of_functions)),
            section(4, &vector(&tables)),
            section(5, &vector(&memories)),
            section(7, &vector(&exports)),
            section(10, &vector(&code)),
            section(11, &vector(&[self.data()])),
        ]
        .concat()
    }

    fn said_len(&self) -> u32 {
        self.schema_len.unwrap_or_else(|| u32::try_from(self.schema.len()).unwrap())
    }

    /// The body of a function, without locals.
    fn code(&self, index: usize) -> Vec<u8> {
        const UNREACHABLE: u8 = 0;
        const END: u8 = 0x0b;
        let body = match index {
            // i32.const 0: where address and length of the schema lie.
            0 => vec![0, 0x41, 0, END],
            // loop, br 0, end
            1 if self.endless_start => vec![0, 0x03, 0x40, 0x0c, 0, END, UNREACHABLE, END],
            _ => vec![0, UNREACHABLE, END],
        };
        [number(u32::try_from(body.len()).unwrap()), body].concat()
    }

    /// The data at address 0 of the first memory.
    fn data(&self) -> Vec<u8> {
        let head =
            [SCHEMA_AT.to_le_bytes(), self.said_len().to_le_bytes(), [0; 4], [0; 4]].concat();
        let bytes = [head, self.schema.clone()].concat();
        let len = number(u32::try_from(bytes.len()).unwrap());
        [vec![0, 0x41, 0, 0x0b], len, bytes].concat()
    }
}

/// A copy of a component with another digest: a section that nobody reads is added.
#[must_use]
pub fn variant(component: &[u8], number_of_it: u32) -> Vec<u8> {
    let content = [text("variant"), number_of_it.to_le_bytes().to_vec()].concat();
    [component, &section(0, &content)].concat()
}

/// LEB128.
fn number(mut n: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(n % 128).unwrap();
        n /= 128;
        if n == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn text(text: &str) -> Vec<u8> {
    [number(u32::try_from(text.len()).unwrap()), text.as_bytes().to_vec()].concat()
}

fn vector(items: &[Vec<u8>]) -> Vec<u8> {
    [number(u32::try_from(items.len()).unwrap()), items.concat()].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], number(u32::try_from(content.len()).unwrap()), content.to_vec()].concat()
}
