"use strict";
// Records what Moleculer's validator (fastest-validator, as src/validators/fastest.js sets it up) answers.
// Usage: node tests/vectors/validator.js > tests/vectors/validator.json
// One line per schema: options of the validator, the schema, and what it says of each value: `true` when the
// value is fine as it is, an object `{value}` when it has been changed, else the array of error items.
// Values are passed through JSON before and after, as they are on the wire.

const path = require("node:path");
const { Fastest } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15")).Validators;

process.env.TZ = "UTC";

/** Values that are offered to the field `a` of most schemas. */
const odd = [
	null, true, false, 0, 1, -1, 1.5, -0.5, 1e21, 123456789012345680000, "", " ", "0", "1", " 12 ", "0x1F", "1e3", "-0", "abc",
	"ABC", "aBc9", "a b", "a-b_c", "äöü", "😀", "true", "on", "off", "NaN", "Infinity", "a\nb", [], [1], ["x"], [1, 2], ["a", "a"],
	[null], [[]], {}, { b: 1 }, { length: 2 }
];
const few = [null, true, 1, "", "x", "5", [], ["5"], {}, { b: 5 }];
const fields = values => [{}, ...values.map(a => ({ a }))];

const groups = [];
/** A schema of the field `a`, with odd values and some that are made for it. */
const rule = (schema, extra = [], base = odd) => groups.push({ schema: { a: schema }, values: fields([...base, ...extra]) });
/** The same with few values. */
const brief = (schema, extra = []) => rule(schema, extra, few);
/** A schema as it is. */
const whole = (schema, values, options) => groups.push({ schema, values, options });

// any, presence
rule("any");
brief("any|optional");
brief({ type: "any", nullable: true });
brief({ type: "any", optional: true, nullable: false });
for (const type of ["string", "number", "boolean"]) {
	brief(`${type}|optional`);
	brief(`${type}|nullable`);
	brief({ type, optional: true, nullable: true });
	brief({ type, optional: "true" });
}
for (const value of ["d", 0, "", false, true, [], [1, { x: null }], {}, { deep: { er: 1 } }, null]) {
	brief({ type: "any", default: value });
	brief({ type: "string", default: value, optional: true });
	brief({ type: "string", default: value, nullable: true });
}
brief("string|default:abc");
brief("number|default:5|optional|nullable");
brief({ type: "forbidden", default: 1 });

// string
rule("string");
rule({ type: "string", convert: true });
for (const empty of [true, false]) {
	rule({ type: "string", empty });
	brief({ type: "string", empty, trim: true, min: 2 }, ["  ", " a "]);
}
rule({ type: "string", min: 3, max: 5 }, ["ab", "abc", "abcde", "abcdef", "😀", "😀😀", "😀😀😀", "äöüäö"]);
rule({ type: "string", length: 2 }, ["ab", "😀", "😀😀"]);
brief({ type: "string", length: "1" });
brief("string|min:3|max:4|no-empty", ["abc", "abcde"]);
brief(" string | min : 3 | max : 4 ", ["abc", "abcde"]);
for (const sanitizer of ["trim", "trimLeft", "trimRight", "lowercase", "uppercase", "localeLowercase", "localeUppercase"])
	brief({ type: "string", [sanitizer]: true }, ["  aBc ", "\u00a0x\ufeff", "ÄÖß", "ΑΣ", "\tİ\n", "already"]);
for (const convert of [true, false]) {
	brief({ type: "string", convert, padStart: 5, padChar: "ab" }, ["x", "12345", "123456", "😀"]);
	brief({ type: "string", convert, padEnd: 4 }, ["x", "1234"]);
	brief({ type: "string", convert, padStart: 4, padEnd: 6, padChar: 0, trim: true, uppercase: true }, [" x "]);
	brief({ type: "string", convert, padStart: 4, padChar: "" });
}
brief({ type: "string", trim: true, lowercase: true, enum: ["abc", "x"] }, [" ABC ", "abd"]);
for (const [pattern, patternFlags] of [
	["^[a-z]+$"], ["^[a-z]+$", "i"], ["^\\d+$"], ["a.c"], ["^\\w+\\s\\w+$"], ["^.{2}$", "u"], ["\\bfoo\\b"], ["^(?=.*\\d)(?=.*[a-z]).+$"],
	["^(a)(b)?\\1$"], ["a/b"], ["[/\"']"], [""], ["^[\\w.+-]+@[\\w-]+\\.[\\w.-]+$"], ["^b$", "m"], ["^\\u0041\\x42\\t$"], ["x", "g"], ["^a.b$", "s"],
	["\\p{Lu}", "u"], ["^(?<y>\\d{4})-(?<m>\\d\\d)$"], ["^[^\\d\\s]*$"], ["\\.js$", "yi"]
])
	brief({ type: "string", pattern, patternFlags }, [
		"abc", "ABC", "12", "ab 12", "a\nb", "foo bar", "a foo", "aba", "aa", "a/b", "\"", "a.b@c.de", "AB\t", "😀", "Ä", "2024-12", "x.js", ".JS"
	]);
brief({ type: "string", contains: "bc" }, ["abc", "bc", "b"]);
brief({ type: "string", contains: 5 });
brief({ type: "string", contains: "" });
brief({ type: "string", enum: ["x", "yy", 5, null] }, ["yy", "null"]);
brief({ type: "string", enum: [] });
for (const form of ["numeric", "alpha", "alphanum", "alphadash", "hex", "singleLine", "base64"])
	rule({ type: "string", [form]: true }, [
		"1.5", "-1.5", "1.", ".5", "+5", "-", "12\n", "abcdef", "ABCDEF", "abc1", "a_b-c", "é", "0", "00", "0aF", "zz", "a\r", "\n", "YQ==", "YWI=",
		"YWJj", "YWJ", "Y===", "YQ\\=", "\\\\==", "Y\\I=", "+/+/", "YWJjYQ==", "YQ==YQ=="
	]);
brief({ type: "string", numeric: true, alpha: true, hex: true, min: 10 });
brief({ type: "string", numeric: 1, alpha: "true" });

// number
rule("number");
rule({ type: "number", convert: true }, [" -1.5e-3 ", ".5", "5.", "0b101", "0o17", "-0x1", "1_0", "+5", "--5", "\u00a07\ufeff", [[5]], ["", ""], "1e999"]);
brief("number|convert");
brief({ type: "number", convert: "true" });
for (const convert of [true, false]) {
	rule({ type: "number", convert, min: 1, max: 10 }, [10, 11, "0.5", "10", "11"]);
	brief({ type: "number", convert, equal: 5, integer: true }, [5, 5.5, "5.0"]);
	brief({ type: "number", convert, notEqual: 5, positive: true }, [5, 0, -1, "0"]);
	brief({ type: "number", convert, negative: true, min: -5.5 }, [-5.5, -6, "-1"]);
}
brief({ type: "number", min: "3", max: " 7 " }, [2, 3, 7, 8]);
brief({ type: "number", min: 0, max: 0 }, [0, -1]);
brief("number|integer|min:-1|max:1e2", [100, 101, -1, 0.5, 9007199254740993, 1.0]);
brief({ type: "number", integer: 1, positive: "yes" }, [-1.5]);

// boolean
rule("boolean");
rule({ type: "boolean", convert: true }, ["TRUE", "1.0", 1.0, "yes", 2]);

// date
brief("date", ["2020-01-01"]);
brief({ type: "date", convert: true }, [
	"2020", "2020-02-30", "2020-01-01T10:00:00Z", "2020-01-01T10:00:00.5+02:00", "2020-01-01T00:00:00.000Z", "nonsense", 0, 1.9, -1.9, 1e20,
	8.64e15, 8640000000000001, "1600000000000", "Tue, 15 Nov 1994 12:45:26 GMT", "Mar 1, 2022", "2022/3/1", "2020-13-01", ["2020-01-01"], [5], false
]);

// array
rule("array");
rule("number[]", [[1, "x", null, 2, "y"]]);
brief("string[]|optional|min:1|max:2|no-empty", [["a", "b", "c"]]);
brief("string[][]", [[["a"], ["b", 1], "c"]]);
rule({ type: "array", convert: true });
rule({ type: "array", convert: true, items: "number|convert", min: 2 });
for (const empty of [true, false]) brief({ type: "array", empty, min: 1, max: 2, length: 2 }, [[1, 2], [1, 2, 3]]);
for (const contains of [1, "1", null, true, "a"])
	brief({ type: "array", contains }, [[1, "1", true], [null], [["1"]], [1.0], ["a", "b"]]);
brief({ type: "array", contains: { b: 1 } }, [[{ b: 1 }]]);
brief({ type: "array", unique: true }, [
	[1, 1], [1, "1"], ["a", "b", "a", "b", "a"], [null, null], [true, true, false], [[], []], [{}, {}], [0, -0], [1, 2, 3, 3, 2]
]);
brief({ type: "array", enum: ["a", 1, null] }, [["a", 1, null], ["b", "1", ["a"]]]);
brief({ type: "array", enum: ["a"], items: "string|min:2", unique: true }, [["a", "a", "b"]]);
brief({ type: "array", items: { type: "string", trim: true, default: "d" } }, [[" a ", null, "b"], [null]]);
brief({ type: "array", items: "string|optional" }, [[null, "a", 1]]);
brief({ type: "array", items: { type: "forbidden", remove: true } }, [[1, null, 2]]);
brief({ type: "array", items: { type: "object", props: { b: "number|convert", c: "string|optional" } } }, [
	[{ b: "1" }, { b: "x" }, {}, 5], [{ b: "1" }, { b: 2, c: "y" }]
]);
brief({ type: "array", items: ["string", "number"] }, [["a", 1, true]]);

// tuple
brief({ type: "tuple" }, [[1, 2]]);
brief({ type: "tuple", empty: false }, [[1, 2]]);
for (const empty of [undefined, true, false])
	brief({ type: "tuple", empty, items: ["string|trim", "number|convert"] }, [["a", 1], [" a ", "1"], ["a"], ["a", 1, 2], [null, 1], [1, "x"]]);
brief({ type: "tuple", items: [{ type: "tuple", items: ["number", "number"] }, "boolean"] }, [[[1, 2], true], [[1, "2"], 1]]);

// object
rule("object");
rule({ type: "object", props: { b: "number" } });
brief({ type: "object", properties: { b: "number" }, props: { c: "string" } }, [{ c: 1 }]);
brief({ type: "object", props: { "b-c": "number", "d'e": "number", "f\"g": "string", "h\ni": "any", "1": "any", "": "any", $x: "any", "ü": "any" } });
for (const strict of [true, "remove", false])
	brief({ type: "object", strict, props: { b: "number", c: "string|optional" } }, [
		{ b: 1, x: 1, y: 2, "10": 1, "2": 1 }, { b: "1", x: 1 }, { b: 1, c: "c" }, { x: 1 }
	]);
for (const strict of [undefined, true, "remove"])
	brief({ type: "object", strict, minProps: 2, maxProps: 3, props: { b: "any|optional", c: { type: "forbidden", remove: true }, d: "any|optional" } }, [
		{ b: 1, c: 2 }, { b: 1, c: 2, d: 3 }, { b: 1, c: 2, d: 3, e: 4 }, { b: 1, e: 1, f: 1, g: 1 }
	]);
brief({ type: "object", minProps: 1, maxProps: 1 }, [{ b: 1, c: 2 }]);
brief({ type: "object", strict: true, minProps: 1 }, [{ b: 1, c: 2 }]);
brief({ $$type: "object", b: "number", c: { $$type: "object|optional", d: "string" } }, [{ b: 1, c: { d: 1 } }, { b: 1, c: null }]);
brief({ $$type: "object|strict", b: "number" }, [{ b: 1, c: 2 }]);
brief({ $$type: "object", $$strict: true, b: "number" }, [{ b: 1, c: 2 }]);
brief({ $$type: { type: "object", strict: true, optional: true }, b: "number" }, [{ b: 1, c: 2 }]);
brief({ type: "object", props: { b: { type: "object", props: { c: { type: "array", items: { type: "object", props: { d: "number" } } } } } } }, [
	{ b: { c: [{ d: 1 }, { d: "x" }, {}] } }, { b: { c: [null] } }, { b: {} }
]);
brief({ type: "object", props: {} }, [{ b: 1 }]);
brief({ type: "object", strict: true, props: {} }, [{ b: 1 }]);

// record
brief({ type: "record" });
brief("record", [{ "2": 1, "1": 2, b: null }]);
brief({ type: "record", key: "string|alpha", value: "number|convert" }, [{ a: 1, b: "2" }, { a1: 1, b: "x" }, { "": 1 }, { c: null }]);
brief({ type: "record", key: { type: "string", uppercase: true, max: 2 } }, [{ ab: 1, abc: { d: 1 } }, { a: 1, A: 2 }]);
brief({ type: "record", key: "number|convert", value: "string" }, [{ "5": "x", "0x10": "y" }, { z: "x" }]);
brief({ type: "record", value: { type: "object", props: { c: "number|convert", d: { type: "equal", field: "c" } } } }, [{ x: { c: "1", d: 1 }, y: { c: 2, d: 3 } }]);
brief({ type: "record", value: { type: "string", default: "d", label: "L" } }, [{ x: null, y: 5 }]);
brief({ type: "record", value: { type: "forbidden", remove: true } }, [{ x: 1, y: null }]);
brief({ type: "record", label: "Rec", value: "string" }, [{ x: null, y: 5 }]);
brief({ type: "record", key: { type: "string", min: 3, messages: { stringMin: "key field of {field}, field" } } }, [{ x: 1 }]);

// multi
brief(["string", "number"]);
brief(["string|optional", "number|optional"]);
brief(["string|optional", "number"]);
brief(["string|nullable", "number|nullable"]);
brief([{ type: "string", min: 3 }, { type: "number", min: 3 }, "boolean"], ["abc", 5]);
brief({ type: "multi", rules: ["number|convert", "string|trim"] }, [" x ", "7"]);
brief({ type: "multi", rules: ["string", "number"], default: 5 });
brief({ type: "multi", rules: [{ type: "object", props: { b: "number|convert", c: "string" } }, { type: "object", props: { b: "string" } }] }, [
	{ b: "5" }, { b: 5 }, { b: "5", c: "c" }
]);
brief([["string", "number"], "boolean"]);
brief([{ type: "object", label: "One", props: { b: { type: "string", label: "Bee" } } }, "number[]"], [["x"], { b: null }]);
brief([{ type: "array", items: "string" }, "string"], [[1, "x"]]);
brief([{ type: "forbidden", remove: true }, "string"]);
brief([{ type: "object", strict: true, props: { b: "number" } }, { type: "object", strict: "remove", props: { c: "number" } }], [{ c: 1, d: 2 }, { b: 1, d: 2 }]);

// enum, equal, forbidden
brief({ type: "enum", values: ["x", 1, true, null, "5"] });
brief({ type: "enum", values: [] });
brief({ type: "enum", values: ["x, y", [1], {}] });
for (const strict of [false, true]) {
	for (const value of [5, "5", true, 1, "", 0, null, [5], "[object Object]"]) brief({ type: "equal", value, strict }, [5, 0, "true", [[5]]]);
	whole({ b: "number|convert|optional", a: { type: "equal", field: "b", strict } }, [
		{ a: 1, b: 1 }, { a: "1", b: 1 }, { a: 1, b: "1" }, { a: 1 }, { b: 1 }, { a: null, b: null }, { a: [1], b: 1 }, { a: {}, b: 1 }, { a: true, b: 1 }
	]);
	whole({ a: { type: "array", items: { type: "equal", field: "b", strict } }, b: "any|optional" }, [{ a: [1, "1", 2], b: 1 }, { a: [1] }]);
}
brief({ type: "equal" });
brief({ type: "equal", field: "" , value: 1});
brief("forbidden");
brief("forbidden|remove");
brief({ type: "forbidden", remove: false });

// formats
for (const schema of ["email", "email|mode:precise", "email|normalize", "email|empty", "email|min:6|max:9", "email|normalize|mode:precise|max:12"])
	brief(schema, [
		"a@b.c", "a@b.cd", "@b.cd", "a@.cd", "a@b.", "a@b", "a b@c.de", " A@B.CD ", "a@@b.cd", "a@b@c.de", "\"a b\"@c.de", "a@[1.2.3.4]", "a..b@c.de",
		"a@b..cd", "a@b.c.d.efg", "ü@ü.de", "a@b-c.de", "a@b_c.de", "😀@b.cd", "a@b.cd\n", "a.b+c@d.ef", ".@.", "@@@@.@", "a@.b.c", "a@b.c1", "\"\"@b.cd"
	]);
for (const schema of ["url", "url|empty"])
	brief(schema, ["http://a", "https://a.b/c?d=e#f", "HTTP://a", "ftp://a", "http://", "http:// a", " http://a", "http://a b", "https:/a", "http://\u00a0", "http://😀"]);
const uuids = [
	"00000000-0000-0000-0000-000000000000", "10ba038e-48da-187b-96e8-8d3b99b6d18a", "10ba038e-48da-287b-96e8-8d3b99b6d18a", "10ba038e-48da-387b-96e8-8d3b99b6d18a",
	"10BA038E-48DA-487B-96E8-8D3B99B6D18A", "10ba038e-48da-487b-c6e8-8d3b99b6d18a", "10ba038e-48da-187b-06e8-8d3b99b6d18a", "10ba038e-48da-587b-86e8-8d3b99b6d18a",
	"10ba038e-48da-687b-06e8-8d3b99b6d18a", "10ba038e-48da-787b-06e8-8d3b99b6d18a", "10ba038e-48da-887b-b6e8-8d3b99b6d18a", "10ba038e-48da-987b-96e8-8d3b99b6d18a",
	"10ba038e-48da-087b-96e8-8d3b99b6d18a", "10ba038e48da487b96e88d3b99b6d18a", "10ba038e-48da-487b-96e8-8d3b99b6d18", "10ba038e-48da-487b-96e8-8d3b99b6d18g",
	"{10ba038e-48da-487b-96e8-8d3b99b6d18a}", "00000000-0000-0000-0000-000000000001", "10ba038e-48da-487b-96e8-8d3b99b6d18a-1", "10ba038e-48da-ä7b-96e8-8d3b99b6d18a"
];
for (const version of [undefined, 0, 1, 4, 5, 7, 9, "4"]) brief({ type: "uuid", version }, uuids);
brief("mac", [
	"01:c8:95:4b:65:fe", "01-C8-95-4B-65-FE", "01c8.954b.65fe", "01:c8:95:4b:65", "01:c8:95-4b:65:fe", "001:c8:95:4b:65:fe", "01:c8:95:4b:65:0fe", "01c8.954b.65f",
	"01c81.954b.65fe", "01c8.954b.65fe1", "1:c8:95:4b:65:fe", "0g:c8:95:4b:65:fe", "01:c8:95:4b:65:fe:00", "01c8.954b", ""
]);
brief("luhn", ["4242424242424242", "4242 4242-4242.4242", "4242424242424241", "79927398713", "0", "000", "18", "x18y", "٣"]);
for (const schema of [
	"currency", { type: "currency", currencySymbol: "$" }, { type: "currency", currencySymbol: "€", symbolOptional: true },
	{ type: "currency", thousandSeparator: ".", decimalSeparator: "," }, { type: "currency", currencySymbol: "$", symbolOptional: true, thousandSeparator: " " }
])
	rule(schema, ["1", "12.2", "12,222.2", "0.12", ".5", "-12", "$12", "-$12", "$-12", "$", "1,23", "1.234,56", "€5", "$1 000.50", "12.222", "012", "1,234,567.89", "x1", "-", "5\n"],
		[null, "", "x", "5"]);

// whole schemas
const params = [null, {}, { a: 1 }, { a: "x", b: "y" }, { b: 1, c: 2, "3": 3 }, [], "x", 5];
whole({ a: "any" }, params);
for (const $$strict of [true, false, "remove"]) whole({ $$strict, a: "any|optional", b: "string|optional" }, params);
whole({ $$strict: true, $$async: false, $$foo: 1, a: "any" }, params.slice(0, 3));
whole({}, params);
whole({ $$strict: true }, params);
whole([{ a: "string" }, { b: "number" }].map(props => ({ type: "object", props })), params);
whole(["string", "number"], params);
for (const schema of [
	{ type: "string" }, { type: "string", trim: true }, { type: "number", convert: true, label: "Count" }, { type: "array", convert: true, items: "string" }, { type: "any" },
	{ type: "array", items: { type: "string", trim: true } }, { type: "record", value: { type: "string", trim: true } },
	{ type: "record", key: "string|uppercase", value: { type: "object", props: { c: "number|convert" } } },
	{ type: "object", props: { a: "string" }, label: "Thing" }, { type: "multi", rules: ["string", "boolean"] }, { type: "equal", value: "x" }, { type: "tuple", items: ["number"] }
])
	whole({ $$root: true, ...schema }, [{}, [], "x", " x ", 5, true, [" x "], ["5", 5], [5], { a: " x " }, { a: { c: "5" } }, { a: 1 }]);
whole({ b: "string", a: "string", "2": "string", "10": "string", "1": "string" }, [{}, { a: 1, b: "x" }]);
whole({ a: { type: "string", default: "x" }, b: { type: "number", convert: true }, c: { $$type: "object", d: "string|default:y" } }, [
	{}, { b: "1", c: {} }, { a: null, b: 1, c: { d: null } }, { a: "a", b: 1, c: { d: "d" } }, { b: "x", c: {} }
]);
whole({ a: { type: "string", optional: true }, b: { type: "forbidden", remove: true }, c: "forbidden" }, [{ b: 1 }, { c: 1 }, { a: "x", b: null, c: null }]);

// labels, messages
whole({ a: { type: "string", label: "The A" }, b: { type: "object", label: "The B", strict: true, props: { c: "number", d: { type: "number", label: "It's \"D\"" } } } }, [
	{}, { a: 1, b: { c: "x", d: "x", e: 1 } }, { a: "a", b: 5 }
]);
whole({ a: { type: "array", label: "List", items: { type: "string", label: "Item" } } }, [{ a: [null, 1] }, { a: 1 }, {}]);
whole({ a: { type: "string", min: 5, messages: { string: "no text: {field} {actual} {expected}", stringMin: "{expected} > {actual} in {field}, {field}!", required: "" } } }, [
	{}, { a: null }, { a: "x" }, { a: ["y", null] }, { a: { x: 1 } }, { a: true }
]);
whole({ $a: "string", "a$$b": "string", "a$&b": "string", a$1: "string" }, [{}]);
whole({ a: "string" }, [{}, { a: 1 }, { a: "x" }], { messages: { string: "Text, please: {field}", required: "{field}?", other: "x" } });
whole({ a: { type: "string", messages: { required: "own" } }, b: "string" }, [{}], { messages: { required: "global" } });

// options
for (const haltOnFirstError of [true, false]) {
	whole({ a: "string|min:3|alpha", b: "number", c: { $$type: "object", d: "number", e: "number" } }, [{}, { a: "1" }, { a: "abc", b: 1, c: {} }, { a: "abc", c: {} }], { haltOnFirstError });
	whole({ a: { type: "array", items: "number" }, b: ["string", "boolean"] }, [{ a: ["x", "y"], b: 5 }, { a: [], b: 5 }], { haltOnFirstError });
	whole({ $$strict: true, a: "any" }, [{ b: 1 }, { a: 1, b: 1 }], { haltOnFirstError });
}
const aliases = { username: { type: "string", min: 4, max: 10, label: "User" }, point: { type: "object", props: { x: "number", y: { type: "number", default: 0 } } }, ids: { type: "array", items: "number|convert" } };
whole({ a: "username" }, [{}, { a: "abc" }, { a: "abcd" }], { aliases });
whole({ a: { type: "username", min: 2, optional: true } }, [{}, { a: "abc" }, { a: "x" }], { aliases });
whole({ a: "username[]", b: { type: "point", props: { z: "string|optional" } }, c: "ids" }, [{ a: ["abc", "abcde"], b: { x: 1, z: 5 }, c: ["1"] }, { a: [], b: { x: 1 }, c: [] }], { aliases });
whole({ a: "point", b: { type: "array", items: "point" } }, [{ a: { x: 1 }, b: [{ x: "1" }, { x: 1, y: 1 }] }, { a: { x: 1 }, b: [{ x: 1 }] }], { aliases });
const defaults = { string: { trim: true, empty: false }, object: { strict: true }, number: { convert: true }, array: { items: "number" } };
whole({ a: "string", b: { $$type: "object", c: "number" }, d: "array" }, [{ a: " ", b: { c: "1" }, d: ["2"] }, { a: " x ", b: { c: "1", e: 1 }, d: [] }, { a: " x ", b: { c: 1 }, d: [1], f: 1 }], { defaults });
whole({ a: { type: "string", trim: false, empty: true }, $$strict: false }, [{ a: " " }, { a: "", b: 1 }], { defaults });
whole({ a: { type: "record", value: "any" } }, [{ a: { " x ": 1, "": 2 } }], { defaults });
for (const considerNullAsAValue of [true, false])
	for (const schema of [
		"string", "string|optional", "string|nullable", "string|no-nullable", "string|default:x", { type: "string", default: "x", nullable: false }, { type: "string", optional: true, nullable: false },
		["string", "number"], ["string|no-nullable", "number|no-nullable"], "forbidden", { type: "array", items: "string|no-nullable" }
	])
		whole({ a: schema }, fields([null, "y", 5, [null]]), { considerNullAsAValue });

// many at once
whole({
	id: "number|integer|positive", name: { type: "string", min: 2, max: 20, trim: true }, email: "email|optional", roles: { type: "array", items: { type: "enum", values: ["admin", "user"] }, default: ["user"] },
	address: { $$type: "object|optional", street: "string", zip: { type: "string", pattern: "^\\d{4,5}$" }, geo: { type: "tuple", items: ["number", "number"], optional: true } },
	tags: "string[]|optional", active: "boolean|convert|default:true", $$strict: "remove"
}, [
	{}, { id: 1, name: "Bob" }, { id: "1", name: " B " }, { id: 1.5, name: "Bob", email: "x", roles: ["admin", "root"], address: {}, tags: [1], active: "yes" },
	{ id: 1, name: " Bob ", email: "b@c.de", roles: [], address: { street: "S", zip: "1234", geo: [1, 2] }, tags: ["x"], active: "off", more: 1 },
	{ id: 1, name: "Bob", address: { street: "S", zip: "abc", geo: [1] } }
]);

const clean = value => (value === undefined ? null : JSON.parse(JSON.stringify(value)));

const answer = (check, value) => {
	const given = clean(value);
	const before = JSON.stringify(given);
	try {
		// moleculer: src/validators/base.js
		const result = check(given ?? {});
		if (result !== true) return clean(result);
	} catch (err) {
		return { throws: err.message };
	}
	return JSON.stringify(given) === before ? true : { value: given };
};

const record = ({ schema, values, options }) => {
	const given = JSON.parse(JSON.stringify(schema));
	const validator = new Fastest(options && JSON.parse(JSON.stringify(options)));
	const check = validator.compile(given);
	const cases = values.map(value => [clean(value), answer(check, value)]).filter(([, said]) => said.throws === undefined);
	return { options: options && clean(options), schema: given, cases };
};

const lines = groups.map(group => "\t" + JSON.stringify(record(group)));
process.stdout.write(`[\n${lines.join(",\n")}\n]\n`);
