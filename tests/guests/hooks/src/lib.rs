//! The service of `tests/vectors/hooks.js`: hooks of every kind around its actions, each of which says in
//! the meta that it ran, and fails or recovers when the params ask for it.

use isomer_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Hooks;

#[derive(Deserialize)]
struct Asked {
    /// Where to fail.
    #[serde(default)]
    fail: Vec<String>,
    /// Which error hooks recover.
    #[serde(default)]
    recover: Vec<String>,
    /// The before hooks that ran.
    seen: Option<Vec<String>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Meta {
    trace: Vec<String>,
}

/// Notes that something ran, and fails when the params say so.
fn step(ctx: &Context, fail: &[String], place: &str) -> Result<()> {
    let mut meta: Meta = ctx.meta()?;
    meta.trace.push(place.into());
    ctx.set_meta(meta)?;
    if fail.iter().any(|wanted| wanted == place) {
        let error = Error::new(500, "FAILED", format!("failed in {place}"));
        return Err(error.data(json!({ "at": place })));
    }
    Ok(())
}

/// Puts a name at the end of the list under a key.
fn push(value: &mut Value, key: &str, name: &str) {
    let Some(object) = value.as_object_mut() else { return };
    let list = object.entry(key).or_insert_with(|| json!([]));
    list.as_array_mut().into_iter().for_each(|list| list.push(name.into()));
}

fn before(ctx: &Context, params: &mut Value, name: &str) -> Result<()> {
    let asked = Asked::deserialize(&*params)?;
    step(ctx, &asked.fail, &format!("before {name}"))?;
    push(params, "seen", name);
    Ok(())
}

fn after(ctx: &Context, asked: &Asked, mut result: Value, name: &str) -> Result<Value> {
    step(ctx, &asked.fail, &format!("after {name}"))?;
    push(&mut result, "after", name);
    Ok(result)
}

fn error(ctx: &Context, asked: &Asked, error: Error, name: &str) -> Result<Value> {
    let place = format!("error {name}");
    step(ctx, &asked.fail, &place)?;
    if asked.recover.contains(&place) {
        return Ok(json!({ "recovered": error.message(), "by": place }));
    }
    let mut json = error.to_json();
    if let Some(message) = json.get_mut("message") {
        *message = format!("{}, seen by {name}", error.message()).into();
    }
    Err(Error::from_json(&json))
}

fn action(ctx: &Context, asked: &Asked) -> Result<Value> {
    step(ctx, &asked.fail, "action")?;
    Ok(json!({ "seen": asked.seen }))
}

#[service(name = "hooks")]
impl Hooks {
    #[before("get|list")]
    fn before_some(&self, ctx: &Context, params: &mut Value) -> Result<()> {
        before(ctx, params, "get|list")
    }

    #[before("*")]
    async fn before_all(&self, ctx: &Context, params: &mut Value) -> Result<()> {
        before(ctx, params, "*")
    }

    #[before("*")]
    fn before_all_again(&self, params: &mut Value, ctx: &Context) -> Result<()> {
        before(ctx, params, "* again")
    }

    #[before("cre*")]
    fn before_creation(&mut self, ctx: &Context, params: &mut Value) -> Result<()> {
        before(ctx, params, "cre*")
    }

    #[after("get|list")]
    fn after_some(&self, ctx: &Context, asked: Asked, result: Value) -> Result<Value> {
        after(ctx, &asked, result, "get|list")
    }

    #[after("*")]
    async fn after_all(&self, ctx: &Context, asked: Asked, result: Value) -> Result<Value> {
        after(ctx, &asked, result, "*")
    }

    #[after("cre*")]
    fn after_creation(&self, ctx: &Context, asked: Asked, result: Value) -> Result<Value> {
        after(ctx, &asked, result, "cre*")
    }

    #[error_hook("get|list")]
    fn error_some(&self, ctx: &Context, asked: Asked, cause: Error) -> Result<Value> {
        error(ctx, &asked, cause, "get|list")
    }

    #[error_hook("*")]
    async fn error_all(&self, ctx: &Context, asked: Asked, cause: Error) -> Result<Value> {
        error(ctx, &asked, cause, "*")
    }

    #[error_hook("cre*")]
    fn error_creation(&self, ctx: &Context, asked: Asked, cause: Error) -> Result<Value> {
        error(ctx, &asked, cause, "cre*")
    }

    #[action(hooks(
        before = ["own", "own_again"],
        after = "own_after",
        error = ["own_error", "own_error_again"],
    ))]
    fn get(&self, ctx: &Context, asked: Asked) -> Result<Value> {
        action(ctx, &asked)
    }

    #[action]
    async fn list(&self, ctx: &Context, asked: Asked) -> Result<Value> {
        action(ctx, &asked)
    }

    #[action]
    fn create(&self, ctx: &Context, asked: Asked) -> Result<Value> {
        action(ctx, &asked)
    }

    #[action]
    fn other(&self, ctx: &Context, asked: Asked) -> Result<Value> {
        action(ctx, &asked)
    }

    #[action(fallback = "instead", hooks(error = "own_error"))]
    fn saved(&self, ctx: &Context, asked: Asked) -> Result<Value> {
        action(ctx, &asked)
    }

    fn own(&self, ctx: &Context, params: &mut Value) -> Result<()> {
        before(ctx, params, "own")
    }

    fn own_again(&self, ctx: &Context, params: &mut Value) -> Result<()> {
        before(ctx, params, "own again")
    }

    fn own_after(&self, ctx: &Context, asked: Asked, result: Value) -> Result<Value> {
        after(ctx, &asked, result, "own")
    }

    fn own_error(&self, ctx: &Context, asked: Asked, cause: Error) -> Result<Value> {
        error(ctx, &asked, cause, "own")
    }

    fn own_error_again(&self, ctx: &Context, asked: Asked, cause: Error) -> Result<Value> {
        error(ctx, &asked, cause, "own again")
    }

    async fn instead(&self, ctx: &Context, asked: Asked, cause: Error) -> Result<Value> {
        step(ctx, &asked.fail, "fallback")?;
        let data: Option<Value> = cause.data_as();
        Ok(json!({ "instead": cause.message(), "type": cause.kind(), "data": data }))
    }
}
