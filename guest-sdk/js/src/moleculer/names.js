// The name under which a service of some version is known: `posts`, `v2.posts`, `staging.posts`.
//
// moleculer: src/service.js getVersionedFullName

export function fullName({ name, version }) {
	if (version == null) return name;
	return `${typeof version === "number" ? `v${version}` : version}.${name}`;
}
