//! A versioned service (`v2.users`) that knows who is who and hears of new posts.

use std::collections::BTreeMap;

use isomer_sdk::prelude::*;
use serde::{Deserialize, Serialize};

struct Users {
    users: BTreeMap<u32, User>,
}

#[derive(Clone, Serialize)]
struct User {
    id: u32,
    name: String,
    posts: u32,
}

#[derive(Deserialize)]
struct Id {
    id: u32,
}

#[derive(Deserialize)]
struct PostCreated {
    author: u32,
}

#[service(name = "users", version = 2)]
impl Users {
    #[created]
    fn new() -> Self {
        let user = |(id, name): (u32, &str)| (id, User { id, name: name.into(), posts: 0 });
        Self { users: [(1, "Ada"), (2, "Grace"), (3, "Barbara")].map(user).into() }
    }

    /// Leaves in the meta who was looked up; the caller sees it after the call.
    #[action(params = { id: "number" })]
    fn get(&self, ctx: &Context, params: Id) -> Result<User> {
        let user = self.users.get(&params.id).ok_or_else(|| {
            Error::client(404, "USER_NOT_FOUND", format!("there is no user {}", params.id))
                .data(json!({ "id": params.id }))
        })?;
        ctx.set_meta(json!({ "user": user.name }))?;
        Ok(user.clone())
    }

    #[action]
    fn list(&self) -> Vec<User> {
        self.users.values().cloned().collect()
    }

    #[event("post.created", group = "users")]
    fn on_post(&mut self, ctx: &Context, post: PostCreated) {
        if let Some(user) = self.users.get_mut(&post.author) {
            user.posts += 1;
            ctx.logger().info(format_args!("{} has {} posts now", user.name, user.posts));
        }
    }
}

#[cfg(test)]
mod tests {
    use isomer_sdk::testing::MockBroker;

    use super::*;

    #[test]
    fn a_new_post_counts_for_its_author() {
        let mock = MockBroker::new();
        let mut users: Users = mock.create();
        mock.emit(&mut users, "post.created", json!({ "id": 1, "author": 2 })).unwrap();
        let user = mock.call(&mut users, "v2.users.get", json!({ "id": 2 })).unwrap();
        assert_eq!(user, json!({ "id": 2, "name": "Grace", "posts": 1 }));
        assert_eq!(mock.meta(), json!({ "user": "Grace" }));
    }

    #[test]
    fn a_stranger_is_not_found() {
        let mock = MockBroker::new();
        let error = mock.call(&mut mock.create::<Users>(), "v2.users.get", json!({ "id": 9 }));
        assert_eq!(error.unwrap_err().kind(), "USER_NOT_FOUND");
    }
}
