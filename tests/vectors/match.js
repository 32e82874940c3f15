"use strict";
// Records what the real Moleculer answers to "does this name match this pattern?".
// Usage: node tests/vectors/match.js > tests/vectors/match.json
// One line per pattern: the names that match; `names` are all names that were asked.

const path = require("node:path");
const { match } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15")).Utils;

const names = [
	"", ".", "..", "*", "**", "?", "$", "a", "ab", "abc", "a.b", "a.b.c", "a.b.c.d", "a..b", ".a", "a.", "a.b.", "ab.c",
	"axb", "axb.c", "user", "users", "userx", "user.", "user.x", "user.xy", "user.x.y", "user.created", "user.created.now",
	"user-created", "user created", "super.user", "superuser.created", "USER.created", "$node", "$node.health",
	"$services.changed", "$$", "x$node", "ü", "üb", "ü.b", "user.ü", "user.日本", "日本.user", "user.😀", "😀", "a\nb", "a.\nb",
	"a+b", "aab", "a(b)", "a[b]", "a|b", "a^b", "a\\b", "user.*", "user.**", "user*", "order.created", "order.item.created",
	"order.item.7.created", "prefix.ab1cd.x.foo", "prefix.abcd.x.foo", "prefix.ab1cd.x.y.foo", "config.site.x.changed"
];

const patterns = [
	"", "*", "**", "***", "****", "?", "??", "???", ".", "*.*", "**.*", "*.**", "**.**", "*.*.*", "a", "a*", "a**", "a***",
	"*a", "**a", "*a*", "**a**", "a?", "?a", "a?b", "a.b", "a.?", "a.??", "a.*", "a.**", "a.b*", "a.b**", "a*.b", "a**.b",
	"a**b", "a*b", "*b", "**b", "*.b", "**.b", "a.*.c", "a.**.c", "a.**c", "a.*.*", "a.*.**", "a.**.*", "a..b", "a..*", ".*",
	".**", "*.", "**.", "user", "user.", "user*", "user**", "user.*", "user.**", "user.*.*", "user?", "user?*", "user.?*",
	"user.x*", "user.x**", "*user", "**user", "*user*", "*.user", "**.created", "*.created", "*.*.created", "user.created*",
	"user.created**", "user.cre?ted", "user.c*d", "user-*", "user *", "$*", "$**", "$node*", "$node.*", "$node.**", "$?ode.*",
	"*$node", "?$node", "$services.*", "ü*", "?b", "ü.?", "user.?", "user.??", "日*", "*.user*", "😀*", "??*", "a\nb", "a*\nb", "a.*b",
	"a+b*c?", "a+b?", "a(b)*?", "a[b]?", "a|b?", "a^b?", "a\\b?", "?+", "a{2}b?", "order.*.created", "order.**.created",
	"order.*.*.created", "order.**", "**.item.**", "*.item.*", "prefix.ab?cd.*.foo", "prefix.ab?cd.**.foo", "prefix.**.foo",
	"config.*.**.changed", "config.**", "a.b.c?", "§§§", "a§§§", "?§§§"
];

const answer = pattern => {
	try {
		return { pattern, matches: names.filter(name => match(name, pattern)) };
	} catch (err) {
		return { pattern, error: err.name };
	}
};

const lines = patterns.map(pattern => "\t\t" + JSON.stringify(answer(pattern)));
process.stdout.write(`{\n\t"names": ${JSON.stringify(names)},\n\t"patterns": [\n${lines.join(",\n")}\n\t]\n}\n`);
