"""The SDK under an ordinary Python: `python3 -m unittest discover -s tests` in `guest-sdk/python`."""

import asyncio
import json
import sys
import unittest
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from isomer import (  # noqa: E402
    ABSENT,
    ClientError,
    DeclarationError,
    Json,
    MoleculerError,
    Payload,
    ServiceNotFoundError,
    ValidationError,
    action,
    after,
    before,
    event,
    fallback,
    on_error,
    service,
    started,
)
from isomer.payload import dumps, loads, to_payload  # noqa: E402
from isomer.testing import MockBroker  # noqa: E402


@dataclass
class Item:
    id: int
    name: str = "unnamed"


@service(name="shop", version=2, settings={"tax": 5}, dependencies=["users"])
class Shop:
    def __init__(self):
        self.seen = []

    @action(cache=True, timeout=500, retry_policy={"enabled": True}, **{"x-own": [1]})
    def get(self, ctx, id: int, lang: Literal["de", "en"] = "de", note: Optional[str] = None):
        """One thing."""
        return {"id": id, "lang": lang, "tax": ctx.settings["tax"]}

    @action
    def put(self, item: Item):
        return item

    @action
    def echo(self, params: Payload):
        return params

    @action
    def text(self, params: Json):
        return params

    @action
    def nothing(self) -> None:
        pass

    @action
    async def both(self, ctx):
        first, second = await asyncio.gather(ctx.call("a.one", {"n": 1}), ctx.call("a.two"))
        return [first, second]

    @action
    async def caught(self, ctx):
        try:
            await ctx.call("a.away")
        except ServiceNotFoundError as error:
            return error.type

    @action
    async def limited(self, ctx):
        async with asyncio.timeout(1):
            await asyncio.sleep(0.001)
        return "slept"

    @action
    async def stuck(self):
        await asyncio.get_running_loop().create_future()

    @action
    def broken(self):
        return 1 // 0

    @action
    def refused(self):
        raise ClientError(404, "NOT_FOUND", "there is none", data={"id": 1}, hint="look")

    @action(hooks={"before": "own"})
    def hooked(self, params):
        if params.get("fail"):
            raise ClientError(400, "BAD", "bad")
        return params["trace"]

    @before("*")
    def everything(self, ctx, params):
        if isinstance(params, dict):
            params.setdefault("trace", []).append("all")

    @before("hook*")
    def some(self, params):
        params["trace"].append("some")

    def own(self, params):
        params["trace"].append("own")

    @after("hooked")
    def afterwards(self, result):
        return [*result, "after"]

    @on_error("hooked")
    def recovered(self, params, error):
        return f"recovered {error.type}" if params.get("recover") else None

    @action
    def fails(self):
        raise ClientError(409, "FIRST", "first")

    @fallback("fails")
    def instead(self, ctx):
        return ctx.cause.type

    @action
    def stream(self, ctx):
        with ctx.respond_stream() as writer:
            for chunk in ctx.stream():
                writer.write(chunk.upper())

    @event("user.*", group="shops")
    def on_user(self, ctx, user):
        self.seen.append((ctx.name, user))

    @started
    def start(self, ctx):
        ctx.emit("shop.open", groups=["x"])


class Calls(unittest.TestCase):
    def setUp(self):
        self.mock = MockBroker()
        self.shop = Shop()

    def call(self, name, params=ABSENT, **more):
        return self.mock.call(self.shop, name, params, **more)

    def test_hints_become_a_schema(self):
        schema = Shop.__isomer__.schema
        params = schema["actions"]["get"]["params"]
        self.assertEqual(params["id"], {"type": "number", "integer": True})
        self.assertEqual(params["lang"], {"type": "enum", "values": ["de", "en"], "optional": True})
        self.assertEqual(params["note"], {"type": "string", "optional": True, "nullable": True})
        self.assertEqual(schema["actions"]["get"]["retryPolicy"], {"enabled": True})
        self.assertEqual(schema["actions"]["get"]["x-own"], [1])
        self.assertEqual(schema["events"], {"user.*": {"group": "shops"}})
        self.assertEqual(schema["isomer"]["lifecycle"], ["started"])
        self.assertEqual(json.loads(Shop.__isomer__.schema_text), schema)

    def test_params_are_read_as_the_handler_says(self):
        self.assertEqual(self.call("get", {"id": 3}), {"id": 3, "lang": "de", "tax": 5})
        self.assertEqual(self.call("put", {"id": 1, "other": 2})["name"], "unnamed")
        with self.assertRaises(ValidationError) as caught:
            self.call("get", {})
        self.assertEqual(caught.exception.data[0]["field"], "id")
        self.assertIs(self.call("nothing", payload=True), ABSENT)
        self.assertEqual(self.call("text", {"a": 1})["a"], 1)

    def test_payloads_of_every_kind_pass(self):
        for value in (None, 0, 1.5, "ü\U0001f600\0", [[], {}]):
            self.assertEqual(self.call("text", value), value)
        self.assertEqual(self.call("echo", b"\x00\xff"), b"\x00\xff")

    def test_calls_are_gathered(self):
        self.mock.on_call("a.one", lambda params, options: params["n"])
        self.mock.on_call("a.two", "two")
        self.assertEqual(self.call("both"), [1, "two"])
        self.assertEqual([made.action for made in self.mock.calls], ["a.one", "a.two"])
        self.assertEqual(self.call("caught"), "SERVICE_NOT_FOUND")

    @unittest.skipIf(sys.version_info < (3, 12), "needs a Python as new as that of components")
    def test_timers_and_time_limits_work(self):
        self.assertEqual(self.call("limited"), "slept")

    def test_what_can_never_come_is_an_error(self):
        with self.assertRaises(MoleculerError) as caught:
            self.call("stuck")
        self.assertEqual(caught.exception.type, "WAITS_FOR_NOTHING")

    def test_errors_keep_their_fields_and_others_their_traceback(self):
        with self.assertRaises(ClientError) as caught:
            self.call("refused")
        error = caught.exception
        self.assertEqual((error.code, error.type, error.data), (404, "NOT_FOUND", {"id": 1}))
        self.assertEqual(error.extra, {"hint": "look"})
        with self.assertRaises(MoleculerError) as caught:
            self.call("broken")
        self.assertEqual((caught.exception.name, caught.exception.code), ("ZeroDivisionError", 500))
        self.assertIn("return 1 // 0", caught.exception.stack)
        self.assertNotIn("dispatch.py", caught.exception.stack.split("\n")[1])

    def test_hooks_run_in_moleculer_s_order(self):
        self.assertEqual(self.call("hooked", {}), ["all", "some", "own", "after"])
        self.assertEqual(self.call("hooked", {"fail": 1, "recover": 1}), "recovered BAD")
        with self.assertRaises(ClientError):
            self.call("hooked", {"fail": 1})

    def test_a_fallback_answers(self):
        self.mock.cause = ClientError(409, "FIRST", "first")
        self.assertEqual(self.call("fails|fallback"), "FIRST")

    def test_events_streams_and_lifecycle(self):
        self.mock.start(self.shop)
        self.assertEqual(self.mock.events[0].options, {"groups": ["x"]})
        self.mock.emit(self.shop, "user.created", {"id": 1})
        self.mock.emit(self.shop, "user.created.twice", {"id": 1})
        self.assertEqual(self.shop.seen, [("user.created", {"id": 1})])
        self.mock.with_stream([b"a", b"b"])
        self.call("stream")
        self.assertEqual((self.mock.streams[0].chunks, self.mock.streams[0].end), ([b"A", b"B"], "end"))


class Values(unittest.TestCase):
    def test_json_is_written_as_javascript_would(self):
        self.assertEqual(dumps({"a": [float("nan"), 1.0, "ü"]}), '{"a":[null,1.0,"ü"]}')
        self.assertEqual(dumps("\ud800"), '"\\ud800"')
        self.assertEqual(dumps(Item(1)), '{"id":1,"name":"unnamed"}')
        self.assertEqual(loads(' {"a": 1} '), {"a": 1})
        self.assertEqual(to_payload(b"x").value, b"x")
        with self.assertRaises(TypeError):
            dumps(object())
        circle = []
        circle.append(circle)
        with self.assertRaises(ValueError):
            dumps(circle)
        self.assertEqual(dumps([1]), "[1]")


class Declarations(unittest.TestCase):
    def check(self, make, words):
        with self.assertRaises(TypeError) as caught:
            make()
        self.assertIn(words, str(caught.exception))

    def test_mistakes_are_named_when_the_class_is_made(self):
        def slip():
            action(timout=5)(lambda self: None)

        def hook_for_nothing():
            @service(name="x")
            class X:
                @before("nobody")
                def hook(self, ctx):
                    pass

        def missing_method():
            @service(name="x")
            class X:
                @action(fallback="nobody")
                def get(self):
                    pass

        self.check(slip, "did you mean 'timeout'?")
        self.check(hook_for_nothing, "no action is meant by 'nobody'")
        self.check(missing_method, "there is no method 'nobody'")
        self.check(lambda: service(name="a b"), "the name of a service")
        self.assertTrue(issubclass(DeclarationError, TypeError))


if __name__ == "__main__":
    unittest.main()
