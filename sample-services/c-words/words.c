/* Counts the words of texts, also of those that another service makes. In C, with isomer.h and nothing else. */
#include <ctype.h>
#include <isomer.h>

/* Texts that were counted by this instance. */
static double n_texts;

/* A text as it is counted: words are what stands between white space. */
static isomer_value counted(const char *text) {
  double words = 0, letters = 0;
  bool inside = false;
  for (; *text; text++) {
    bool space = isspace((unsigned char)*text) != 0;
    words += !space && !inside;
    /* A character of UTF-8 begins where a byte is no continuation. */
    letters += !space && ((unsigned char)*text & 0xC0) != 0x80;
    inside = !space;
  }
  n_texts++;
  isomer_json *result = isomer_set_number(isomer_object(), "words", words);
  return isomer_from(isomer_set_number(result, "letters", letters));
}

static isomer_value count(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  return counted(isomer_text(isomer_get(isomer_parse(params), "text"), ""));
}

/* Calls the greeter, which is in Rust, for several people at once and counts what it says. */
static isomer_value greetings(isomer_ctx *ctx, isomer_value params) {
  isomer_json *names = isomer_get(isomer_parse(params), "names"), *result = isomer_object();
  size_t n = isomer_count(names), i = 0;
  isomer_pending **calls = isomer_alloc(n * sizeof *calls);
  for (isomer_json *name = isomer_first(names); name; name = isomer_next(name)) {
    isomer_json *who = isomer_set(isomer_object(), "name", name);
    calls[i++] = isomer_start_call(ctx, "greeter.hello", isomer_from(who), NULL);
  }
  i = 0;
  for (isomer_json *name = isomer_first(names); name; name = isomer_next(name)) {
    isomer_value said = isomer_take(calls[i++]);
    if (isomer_failed(said)) return said;
    isomer_set(result, isomer_text(name, ""), isomer_json_of(counted(isomer_text(isomer_parse(said), ""))));
  }
  return isomer_from(result);
}

static isomer_value on_text(isomer_ctx *ctx, isomer_value data) {
  isomer_value done = counted(isomer_text(isomer_parse(data), ""));
  return isomer_emit(ctx, "words.counted", done, NULL);
}

static const isomer_action actions[] = {
    {.name = "count",
     .run = count,
     .schema = ISOMER_TEXT_OF({"params": {"text": "string"}, "cache": {"keys": ["text"]}, "rest": "POST /count"})},
    {.name = "greetings",
     .run = greetings,
     .schema = ISOMER_TEXT_OF({"params": {"names": {"type": "array", "items": "string", "max": 20}}})},
    {0},
};

static const isomer_event events[] = {{.pattern = "text.*", .run = on_text}, {0}};

ISOMER_SERVICE(.name = "words", .actions = actions, .events = events)
