//! Hooks and fallbacks in a unit test of a service, as its author writes one.

use isomer_sdk::prelude::*;
use isomer_sdk::testing::MockBroker;
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Users {
    seen: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    secret: Option<String>,
}

#[derive(Deserialize)]
struct Id {
    id: u32,
}

#[service(name = "users", settings = { admin: "Ada" })]
impl Users {
    #[before("*")]
    fn authenticate(&mut self, ctx: &Context) -> Result<()> {
        self.seen.push(ctx.name());
        match ctx.meta::<Value>()?.get("user").and_then(Value::as_str) {
            Some(user) => ctx.set_local("user", user.to_owned()),
            None => return Err(Error::client(401, "NO_USER", "who are you?")),
        }
        Ok(())
    }

    /// The action wants a number; callers may send text.
    #[before("get|remove")]
    fn number(&self, params: &mut Value) -> Result<()> {
        if let Some(text) = params["id"].as_str() {
            params["id"] = text.parse::<u32>()?.into();
        }
        Ok(())
    }

    #[after("get")]
    fn without_secret(&self, ctx: &Context, mut user: User) -> Result<User> {
        let admin = ctx.settings::<Value>()?.get("admin").cloned();
        if ctx.local::<String>("user").map(Value::from) != admin {
            user.secret = None;
        }
        Ok(user)
    }

    #[error_hook("*")]
    fn translate(&self, ctx: &Context, error: Error) -> Error {
        error.field("action", ctx.name())
    }

    #[action(hooks(error = "nobody"))]
    fn get(&self, params: Id) -> Result<User> {
        match params.id {
            1 => Ok(User { name: "Ada".into(), secret: Some("s".into()) }),
            2 => Err(Error::client(404, "NOBODY", "there is no user 2")),
            _ => Err(Error::server(503, "DOWN", "the users are gone")),
        }
    }

    #[action(fallback = "nobody_removed")]
    fn remove(&self, params: Id) -> Result<u32> {
        Err(Error::server(500, "BROKEN", format!("{} stays", params.id)))
    }

    /// Instead of the error that nobody is there, a user without a name.
    fn nobody(&self, error: Error) -> Result<User> {
        match error.kind() {
            "NOBODY" => Ok(User { name: String::new(), secret: None }),
            _ => Err(error),
        }
    }

    fn nobody_removed(&self, ctx: &Context, params: Id, error: Error) -> Result<Value> {
        assert_eq!(ctx.cause().as_ref(), Some(&error));
        match error.kind() {
            "BROKEN" => Ok(json!({ "removed": 0, "id": params.id, "because": error.message() })),
            _ => Err(error),
        }
    }
}

fn mock(user: &str) -> MockBroker {
    MockBroker::new().with_meta(json!({ "user": user }))
}

#[test]
fn hooks_check_change_and_recover() {
    let users = &mut Users::default();
    let get = |mock: &MockBroker, users: &mut Users, id: Value| {
        mock.call(users, "users.get", json!({ "id": id }))
    };
    let refused = get(&MockBroker::new(), users, json!(1)).unwrap_err();
    assert_eq!((refused.code(), refused.kind()), (Some(401), "NO_USER"));
    assert_eq!(refused.extra()["action"], "users.get", "the error of a hook meets error hooks");
    let user = json!({ "name": "Ada", "secret": null });
    assert_eq!(get(&mock("Bob"), users, json!("1")).unwrap(), user);
    let user = json!({ "name": "Ada", "secret": "s" });
    assert_eq!(get(&mock("Ada"), users, json!(1)).unwrap(), user);
    let nobody = json!({ "name": "", "secret": null });
    assert_eq!(get(&mock("Ada"), users, json!(2)).unwrap(), nobody);
    let down = get(&mock("Ada"), users, json!(3)).unwrap_err();
    assert_eq!((down.kind(), &down.extra()["action"]), ("DOWN", &json!("users.get")));
    assert_eq!(users.seen, ["users.get"; 5]);
}

#[test]
fn a_fallback_answers_with_the_params_and_the_error() {
    let users = &mut Users::default();
    let instead = mock("Ada").call(users, "users.remove", json!({ "id": "7" }));
    let refused = MockBroker::new().call(users, "users.remove", json!({ "id": 7 })).unwrap_err();
    // The fallback gets the params of the call, which no hook has changed: here text, not a number.
    assert_eq!(instead.unwrap_err().kind(), "BROKEN");
    let expected = json!({ "removed": 0, "id": 7, "because": "7 stays" });
    let instead = mock("Ada").call(users, "users.remove", json!({ "id": 7 })).unwrap();
    assert_eq!(instead, expected);
    assert_eq!(refused.kind(), "NO_USER");
}

#[test]
fn own_actions_are_called_by_their_own_names() {
    let mock = MockBroker::new().on_call("users.count", |_, _| Ok(5));
    let mut caller = Caller;
    let error = mock.call(&mut caller, "v3.caller.own", ()).unwrap_err();
    assert_eq!((error.code(), error.name()), (Some(404), "ServiceNotFoundError"));
    assert_eq!(mock.calls()[0].action, "v3.caller.hidden");
    let free = mock.with_settings(json!({ "$noServiceNamePrefix": true }));
    let _ = free.call(&mut caller, "v3.caller.own", ());
    assert_eq!(free.calls()[1].action, "hidden");
    let json = free.call(&mut caller, "v3.caller.context", ()).unwrap();
    assert_eq!((&json["action"]["name"], &json["level"]), (&json!("v3.caller.context"), &json!(1)));
    assert_eq!(json["service"]["fullName"], "v3.caller");
}

#[derive(Default)]
struct Caller;

#[service(name = "caller", version = 3)]
impl Caller {
    #[action]
    async fn own(&self, ctx: &Context) -> Result<Value> {
        ctx.call_own("hidden", ()).await
    }

    #[action]
    fn context(&self, ctx: &Context) -> Value {
        ctx.to_json()
    }

    #[action(visibility = "private")]
    fn hidden(&self) {}
}
