//! Calls another service, sends events, and keeps its posts in memory.

use isomer_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Posts {
    posts: Vec<Post>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Post {
    id: usize,
    title: String,
    author: u32,
}

#[derive(Deserialize)]
struct Create {
    title: String,
    author: u32,
}

/// What `v2.users.get` leaves in the meta.
#[derive(Deserialize)]
struct Meta {
    user: String,
}

#[derive(Deserialize)]
struct Id {
    id: usize,
}

#[service(name = "posts", dependencies = [{ name: "users", version: 2 }])]
impl Posts {
    /// Fails with the error of `v2.users.get`, all fields kept, when the author is unknown.
    #[action(params = { title: "string", author: "number" }, rest = "POST /")]
    async fn create(&mut self, ctx: &Context, params: Create) -> Result<Post> {
        ctx.call::<Value>("v2.users.get", json!({ "id": params.author })).await?;
        let id = self.posts.len() + 1;
        let post = Post { id, title: params.title, author: params.author };
        self.posts.push(post.clone());
        ctx.emit("post.created", &post).await?;
        // What the gateway answers with.
        ctx.set_meta(json!({ "$statusCode": 201, "$location": format!("/posts/{id}") }))?;
        Ok(post)
    }

    /// The post, its author, and the name that the other service left in the meta. The id may be a text, as
    /// it comes from an address: the host converts it.
    #[action(params = { id: "number|convert" }, rest = "GET /:id")]
    async fn get(&self, ctx: &Context, params: Id) -> Result<Value> {
        let post = self.posts.iter().find(|post| post.id == params.id).ok_or_else(|| {
            Error::client(404, "POST_NOT_FOUND", format!("there is no post {}", params.id))
                .data(json!({ "id": params.id }))
        })?;
        let author: Value = ctx.call("v2.users.get", json!({ "id": post.author })).await?;
        let meta: Meta = ctx.meta()?;
        Ok(json!({ "id": post.id, "title": post.title, "author": author, "by": meta.user }))
    }

    #[action(rest = "GET /")]
    fn list(&self) -> Vec<Post> {
        self.posts.clone()
    }
}

#[cfg(test)]
mod tests {
    use isomer_sdk::testing::MockBroker;

    use super::*;

    fn mock() -> MockBroker {
        MockBroker::new().on_call("v2.users.get", |params, _| match params["id"].as_u64() {
            Some(1) => Ok(json!({ "id": 1, "name": "Ada" })),
            _ => Err(Error::client(404, "USER_NOT_FOUND", "there is no such user")),
        })
    }

    #[test]
    fn a_post_is_kept_and_announced() {
        let (mock, mut posts) = (mock(), Posts::default());
        let params = json!({ "title": "Notes", "author": 1 });
        let post = mock.call(&mut posts, "posts.create", params).unwrap();
        assert_eq!(post, json!({ "id": 1, "title": "Notes", "author": 1 }));
        assert_eq!(mock.call(&mut posts, "posts.list", ()).unwrap(), json!([post]));
        let events = mock.events();
        assert_eq!((events[0].name.as_str(), &events[0].data), ("post.created", &post));
    }

    #[test]
    fn a_post_is_shown_with_its_author() {
        let (mock, mut posts) = (mock().with_meta(json!({ "user": "Ada" })), Posts::default());
        mock.call(&mut posts, "posts.create", json!({ "title": "T", "author": 1 })).unwrap();
        let post = mock.call(&mut posts, "posts.get", json!({ "id": 1 })).unwrap();
        assert_eq!(post["author"]["name"], "Ada");
        assert_eq!(post["by"], "Ada");
    }

    #[test]
    fn an_unknown_author_keeps_the_post_from_being_created() {
        let (mock, mut posts) = (mock(), Posts::default());
        let params = json!({ "title": "T", "author": 7 });
        let error = mock.call(&mut posts, "posts.create", params).unwrap_err();
        assert_eq!(error.kind(), "USER_NOT_FOUND");
        assert!(posts.posts.is_empty() && mock.events().is_empty());
    }
}
