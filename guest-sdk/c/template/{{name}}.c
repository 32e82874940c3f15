/* The service {{name}}. What isomer.h offers is described there, and with examples in docs/c.md of Isomer. */
#include <isomer.h>
#include <string.h>

static isomer_value hello(isomer_ctx *ctx, isomer_value params) {
  const char *name = isomer_text(isomer_get(isomer_parse(params), "name"), "world");
  isomer_json *data = isomer_set_text(isomer_object(), "name", name);
  isomer_value sent = isomer_emit(ctx, "{{name}}.greeted", isomer_from(data), NULL);
  if (isomer_failed(sent)) return sent;
  return isomer_from_text(isomer_format("Hello, %s!", name));
}

static const isomer_action actions[] = {
    {.name = "hello", .run = hello, .schema = ISOMER_TEXT_OF({"params": {"name": {"type": "string", "min": 1}}})},
    {0},
};

ISOMER_SERVICE(.name = "{{name}}", .actions = actions)
