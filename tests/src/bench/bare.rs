//! The same component called with nothing but wasmtime: what a call through the whole node is held against.

use std::path::Path;

use wasmtime::component::{
    Component, ComponentType, InstancePre, Lift, Linker, Lower, Resource, ResourceTable, TypedFunc,
};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// As `host/src/runtime/engine.rs`.
const FUEL_SLICE: u64 = 1_000_000;
/// As the default of `config::Limits`.
const FUEL: u64 = 2_000_000_000;

/// `payload` of `wit/types.wit` on its way into a guest.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(variant)]
enum Params {
    #[component(name = "absent")]
    _Absent,
    #[component(name = "json")]
    Json(&'static str),
    #[component(name = "bytes")]
    _Bytes(&'static [u8]),
}

/// `payload` on its way out.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(variant)]
#[expect(dead_code, reason = "other kinds are only shown when they come")]
enum Outcome {
    #[component(name = "absent")]
    Absent,
    #[component(name = "json")]
    Json(String),
    #[component(name = "bytes")]
    Bytes(Vec<u8>),
}

/// `failure` of `wit/types.wit`.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
#[expect(dead_code, reason = "only shown when a call fails")]
struct Failure {
    name: String,
    message: String,
    code: Option<u32>,
    #[component(name = "type")]
    kind: Option<String>,
    retryable: bool,
    data: Option<String>,
    stack: Option<String>,
    extra: Option<String>,
}

type CallAction = TypedFunc<(Resource<()>, &'static str, Params), (Result<Outcome, Failure>,)>;

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A component that is linked and can be instantiated.
pub struct Bare {
    engine: Engine,
    pre: InstancePre<State>,
}

/// One instance of it.
pub struct Instance {
    store: Store<State>,
    call_action: CallAction,
}

impl Bare {
    /// Compiles a component for an engine with the settings of `host/src/runtime/engine.rs`.
    ///
    /// # Panics
    /// When it does not compile or link.
    #[must_use]
    pub fn load(file: &Path) -> Self {
        let mut config = Config::new();
        let stack = isomer_host::config::Limits::default().stack;
        config
            .concurrency_support(false)
            .consume_fuel(true)
            .max_wasm_stack(stack)
            .async_stack_size(stack + (1 << 20));
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_file(&engine, file).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        // The echo asks its host for nothing, so what the world offers need not work here.
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        Self { engine, pre }
    }

    /// Makes an instance.
    ///
    /// # Panics
    /// When that fails, or the component is no service.
    pub async fn instance(&self) -> Instance {
        let wasi = WasiCtx::builder().build();
        let mut store = Store::new(&self.engine, State { wasi, table: ResourceTable::new() });
        store.set_fuel(FUEL).unwrap();
        store.fuel_async_yield_interval(Some(FUEL_SLICE)).unwrap();
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let handler = "isomer:service/handler@0.1.0";
        let handler = instance.get_export_index(&mut store, None, handler).unwrap();
        let call_action =
            instance.get_export_index(&mut store, Some(&handler), "call-action").unwrap();
        let call_action = instance.get_typed_func(&mut store, call_action).unwrap();
        Instance { store, call_action }
    }
}

impl Instance {
    /// Calls an action with fresh fuel and gives the JSON text of its result.
    ///
    /// # Panics
    /// When the call fails or its result is no JSON.
    pub async fn call(&mut self, action: &'static str, params: &'static str) -> String {
        self.store.set_fuel(FUEL).unwrap();
        let args = (Resource::new_borrow(1), action, Params::Json(params));
        let (outcome,) = self.call_action.call_async(&mut self.store, args).await.unwrap();
        match outcome {
            Ok(Outcome::Json(text)) => text,
            other => panic!("{action} answered {other:?}"),
        }
    }
}
