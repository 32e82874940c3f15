//! Files with tests: TOML or JSON of one form, in which every unknown key is a mistake.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Largest file that is read, in bytes.
const LEN_MAX: u64 = 8 << 20;

/// Why a file with tests cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        /// What the system says.
        source: std::io::Error,
    },
    /// What it holds is wrong.
    #[error("{}: {reason}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
}

/// A file with tests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Settings of the service in all tests.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Answers in all tests, after those of the test itself.
    #[serde(default)]
    pub mock: Vec<Mock>,
    /// The tests.
    pub test: Vec<Test>,
}

/// How an action of another service answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mock {
    /// Full name of the action.
    pub action: String,
    /// Only calls whose params contain these.
    pub params: Option<Value>,
    /// What it answers; null when it is left out.
    #[serde(default)]
    pub result: Value,
    /// What it fails with, in the place of a result.
    pub error: Option<Map<String, Value>>,
    /// What it leaves in the meta of its caller.
    #[serde(default)]
    pub meta: Map<String, Value>,
}

/// One test: a step, or several in the given order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What it shows, in a sentence.
    pub name: String,
    /// Settings of the service, over those of the file.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Answers in this test, before those of the file.
    #[serde(default)]
    pub mock: Vec<Mock>,
    /// Several steps on one service; the keys of a single one stand in the test itself.
    #[serde(default)]
    pub steps: Vec<Step>,
    #[serde(default)]
    call: Option<String>,
    #[serde(default)]
    emit: Option<String>,
    #[serde(default)]
    params: Option<Value>,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    meta: Map<String, Value>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    expect: Expect,
}

/// A call or an event, and what is expected of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The action, by its own name or its full one.
    pub call: Option<String>,
    /// The event that is sent to the service.
    pub emit: Option<String>,
    /// Params of the call.
    pub params: Option<Value>,
    /// Data of the event.
    pub data: Option<Value>,
    /// Meta of the call or event.
    #[serde(default)]
    pub meta: Map<String, Value>,
    /// Headers of the call or event.
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// What is expected; without an `error` always that there is none.
    #[serde(default)]
    pub expect: Expect,
}

/// What is expected of a step; what is left out is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Exactly this result.
    pub result: Option<Value>,
    /// A result with at least these keys.
    pub contains: Option<Value>,
    /// An error with at least these fields.
    pub error: Option<Map<String, Value>>,
    /// A meta with at least these keys afterwards.
    pub meta: Option<Value>,
    /// Exactly these calls of other services, in this order; of each, the keys that are given.
    pub calls: Option<Vec<Value>>,
    /// Exactly these events, in this order; of each, the keys that are given.
    pub events: Option<Vec<Value>>,
}

impl Test {
    /// Its steps.
    #[must_use]
    pub fn all_steps(&self) -> Vec<Step> {
        if !self.steps.is_empty() {
            return self.steps.clone();
        }
        vec![Step {
            call: self.call.clone(),
            emit: self.emit.clone(),
            params: self.params.clone(),
            data: self.data.clone(),
            meta: self.meta.clone(),
            headers: self.headers.clone(),
            expect: self.expect.clone(),
        }]
    }

    fn check(&self) -> Result<(), String> {
        let alone = self.call.is_some() || self.emit.is_some();
        if alone && !self.steps.is_empty() {
            return Err("has `steps` beside a step of its own; move it into `steps`".into());
        }
        self.all_steps().iter().try_for_each(Step::check)
    }
}

impl Step {
    fn check(&self) -> Result<(), String> {
        match (&self.call, &self.emit) {
            (Some(_), Some(_)) => return Err("has `call` and `emit`; use two steps".into()),
            (None, None) => return Err("has neither `call` nor `emit`".into()),
            (Some(_), None) if self.data.is_some() => {
                return Err("has `data`, which belongs to `emit`; a call has `params`".into());
            }
            (None, Some(_)) if self.params.is_some() => {
                return Err("has `params`, which belong to `call`; an event has `data`".into());
            }
            _ => {}
        }
        let expect = &self.expect;
        let good = expect.result.is_some() || expect.contains.is_some();
        if expect.error.is_some() && good {
            return Err("expects a result and an error".into());
        }
        Ok(())
    }
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error`] with the place in the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let wrong = |reason: String| Error::Form { path: path.to_owned(), reason };
        let len = std::fs::metadata(path).map_err(failed)?.len();
        if len > LEN_MAX {
            return Err(wrong(format!("it has {len} bytes; the limit is {LEN_MAX}")));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let json = path.extension().is_some_and(|extension| extension == "json");
        let file = if json { Self::from_json(&text) } else { Self::from_toml(&text) };
        file.map_err(wrong)
    }

    fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string()).and_then(Self::checked)
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string()).and_then(Self::checked)
    }

    fn checked(self) -> Result<Self, String> {
        for test in &self.test {
            test.check().map_err(|why| format!("the test '{}' {why}", test.name))?;
        }
        for mock in &self.mock {
            if mock.error.is_some() && !mock.result.is_null() {
                return Err(format!("the mock of '{}' has a result and an error", mock.action));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_as_large_as_the_limit() {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        let (text, len) =
            ("[[test]]\nname = \"x\"\ncall = \"a\"\n#", usize::try_from(LEN_MAX).unwrap());
        let read = |len: usize| {
            std::fs::write(file.path(), text.to_owned() + &"x".repeat(len - text.len())).unwrap();
            File::read(file.path())
        };
        assert_eq!(read(len).unwrap().test.len(), 1);
        assert!(read(len + 1).unwrap_err().to_string().contains("the limit is"));
    }

    #[test]
    fn a_test_is_one_step_or_several() {
        let text = r#"
            [[mock]]
            action = "users.get"
            result = { name = "Ada" }

            [[test]]
            name = "one"
            call = "hello"
            params = { name = "Ada" }
            expect.result = "Hello"

            [[test]]
            name = "several"
            steps = [{ emit = "user.created", data = 5 }, { call = "list", expect.result = [5] }]
        "#;
        let file = File::from_toml(text).unwrap();
        let steps: Vec<_> = file.test.iter().map(|test| test.all_steps().len()).collect();
        assert_eq!(steps, [1, 2]);
        assert_eq!(file.mock[0].result["name"], "Ada");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let check = |json: &str, part: &str| {
            let error = File::from_json(json).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check(r#"{"test":[{"name":"a","call":"b","exprect":{}}]}"#, "unknown field `exprect`");
        check(r#"{"test":[{"name":"a"}]}"#, "the test 'a' has neither `call` nor `emit`");
        check(r#"{"test":[{"name":"a","call":"b","emit":"c"}]}"#, "use two steps");
        check(r#"{"test":[{"name":"a","call":"b","data":1}]}"#, "belongs to `emit`");
        check(r#"{"test":[{"name":"a","emit":"b","params":1}]}"#, "an event has `data`");
        check(r#"{"test":[{"name":"a","call":"b","steps":[{"call":"c"}]}]}"#, "beside a step");
        let both = r#"{"test":[{"name":"a","call":"b","expect":{"result":1,"error":{}}}]}"#;
        check(both, "a result and an error");
        check(
            r#"{"test":[],"mock":[{"action":"a.b","result":1,"error":{}}]}"#,
            "the mock of 'a.b'",
        );
        check("{", "line 1");
        assert!(File::from_toml("[[test]]\nname = 5").unwrap_err().contains("line 2"));
    }
}
