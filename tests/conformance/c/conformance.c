/* The conformance guest in C. What it has to do is told in tests/conformance/README.md; the guests of all other
 * languages do the same. */
#include <isomer.h>
#include <stdlib.h>
#include <string.h>

/* State of this instance. */
static int started, count, runs;
/* What the event handlers noted, as JSON texts. */
static char *noted[1000];
static size_t n_noted;

static isomer_json *get(isomer_value params, const char *key) { return isomer_get(isomer_parse(params), key); }

static const char *text(isomer_value params, const char *key) { return isomer_text(get(params, key), ""); }

static double number(isomer_value params, const char *key) { return isomer_number(get(params, key), 0); }

/* The value of a key as the params of a call: nothing when it is not there. */
static isomer_value given(const isomer_json *object, const char *key) {
  isomer_json *value = isomer_get(object, key);
  return value ? isomer_from(value) : isomer_absent();
}

/* ---- Lifecycle ------------------------------------------------------------------------------------------------ */

static isomer_value on_started(isomer_ctx *ctx, isomer_value nothing) {
  (void)nothing;
  if (strcmp(isomer_text(isomer_get(isomer_settings(), "started"), ""), "fail") == 0)
    return isomer_server_error(500, "START_FAILED", "as the settings ask");
  started++;
  isomer_json *data = isomer_set_number(isomer_object(), "started", started);
  return isomer_emit(ctx, "life.started", isomer_from(data), NULL);
}

static isomer_value on_stopped(isomer_ctx *ctx, isomer_value nothing) {
  (void)nothing;
  isomer_json *data = isomer_set_number(isomer_object(), "count", count);
  return isomer_emit(ctx, "life.stopped", isomer_from(data), NULL);
}

/* ---- Values --------------------------------------------------------------------------------------------------- */

static isomer_value echo(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  return params;
}

static isomer_value kind(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  static const char *const names[] = {"absent", "json", "bytes", "failed"};
  return isomer_from_text(names[params.kind]);
}

static isomer_value nothing(isomer_ctx *ctx, isomer_value params) {
  (void)ctx, (void)params;
  return isomer_absent();
}

static isomer_value bytes(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  size_t n = (size_t)number(params, "n");
  return isomer_from_bytes(memset(isomer_alloc(n), 7, n), n);
}

static isomer_value sum(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  double total = 0;
  for (size_t i = 0; i < params.len; i++) total += (unsigned char)params.data[i];
  return isomer_from_number(total);
}

static isomer_value roundtrip(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  return isomer_from(isomer_set(isomer_object(), "value", get(params, "value")));
}

/* ---- Context -------------------------------------------------------------------------------------------------- */

static isomer_json *fields(isomer_ctx *ctx) {
  uint32_t left;
  isomer_json *seen = isomer_object();
  isomer_set_text(seen, "id", isomer_id(ctx));
  isomer_set_text(seen, "requestID", isomer_request_id(ctx));
  isomer_set_text(seen, "parentID", isomer_parent_id(ctx));
  isomer_set_text(seen, "caller", isomer_caller(ctx));
  isomer_set_number(seen, "level", isomer_level(ctx));
  isomer_set_text(seen, "nodeID", isomer_node_id(ctx));
  isomer_set_text(seen, "name", isomer_name(ctx));
  isomer_set_text(seen, "eventType", isomer_event_type(ctx));
  isomer_set(seen, "eventGroups", isomer_event_groups(ctx));
  isomer_set(seen, "meta", isomer_meta(ctx));
  isomer_set(seen, "headers", isomer_headers(ctx));
  isomer_set(seen, "remainingTime", isomer_remaining_time(ctx, &left) ? isomer_num(left) : NULL);
  isomer_set(seen, "settings", isomer_settings());
  isomer_set_text(seen, "localNodeID", isomer_local_node_id());
  isomer_set_text(seen, "namespace", isomer_namespace());
  return seen;
}

static isomer_value context(isomer_ctx *ctx, isomer_value params) {
  (void)params;
  return isomer_from(fields(ctx));
}

static isomer_value set_meta(isomer_ctx *ctx, isomer_value params) {
  isomer_value before = isomer_from(isomer_meta(ctx));
  isomer_value done = isomer_set_meta(ctx, get(params, "set"));
  if (isomer_failed(done)) return done;
  if (isomer_bool(get(params, "fail"), false))
    return isomer_client_error(400, "AFTER_META", "failed after the meta was set");
  return before;
}

static isomer_value set_headers(isomer_ctx *ctx, isomer_value params) {
  return isomer_set_response_headers(ctx, isomer_parse(params));
}

static isomer_value write_log(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  static const char *const names[] = {"fatal", "error", "warn", "info", "debug", "trace"};
  for (int level = ISOMER_FATAL; level <= ISOMER_TRACE; level++) {
    if (strcmp(names[level], text(params, "level")) != 0) continue;
    isomer_log((isomer_level_t)level, get(params, "fields"), "%s", text(params, "message"));
    return isomer_from_bool(isomer_log_enabled((isomer_level_t)level));
  }
  return isomer_client_error(422, "VALIDATION_ERROR", "no level is called '%s'", text(params, "level"));
}

static isomer_value count_calls(isomer_ctx *ctx, isomer_value params) {
  (void)ctx, (void)params;
  isomer_json *seen = isomer_set_number(isomer_object(), "count", ++count);
  return isomer_from(isomer_set_number(seen, "started", started));
}

/* ---- Errors --------------------------------------------------------------------------------------------------- */

static isomer_value fail(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  return isomer_fail(isomer_error_from_json(isomer_parse(params)));
}

static isomer_value trap(isomer_ctx *ctx, isomer_value params) {
  (void)ctx, (void)params;
  abort();
}

/* ---- Calls ---------------------------------------------------------------------------------------------------- */

static isomer_pending *start(isomer_ctx *ctx, const isomer_json *call) {
  const char *action = isomer_text(isomer_get(call, "action"), "");
  return isomer_start_call(ctx, action, given(call, "params"), isomer_get(call, "options"));
}

static isomer_value call(isomer_ctx *ctx, isomer_value params) {
  return isomer_call(ctx, text(params, "action"), given(isomer_parse(params), "params"), get(params, "options"));
}

static isomer_value call_and_meta(isomer_ctx *ctx, isomer_value params) {
  isomer_value result = call(ctx, params);
  bool failed = isomer_failed(result);
  isomer_json *seen = isomer_object();
  isomer_set(seen, "result", failed ? NULL : isomer_json_of(result));
  isomer_set(seen, "error", failed ? isomer_error_to_json(result.error) : NULL);
  return isomer_from(isomer_set(seen, "meta", isomer_meta(ctx)));
}

static isomer_value parallel(isomer_ctx *ctx, isomer_value params) {
  isomer_json *calls = get(params, "calls"), *results = isomer_array();
  size_t n = isomer_count(calls), i = 0;
  isomer_pending **pending = isomer_alloc(n * sizeof *pending);
  for (isomer_json *one = isomer_first(calls); one; one = isomer_next(one)) pending[i++] = start(ctx, one);
  for (i = 0; i < n; i++) {
    isomer_value result = isomer_take(pending[i]);
    isomer_json *one = isomer_object();
    if (isomer_failed(result)) isomer_set(one, "error", isomer_error_to_json(result.error));
    else isomer_set(one, "value", isomer_json_of(result));
    isomer_add(results, one);
  }
  return isomer_from(results);
}

static isomer_value mcall(isomer_ctx *ctx, isomer_value params) {
  isomer_json *options = isomer_object();
  if (isomer_bool(get(params, "settled"), false)) isomer_set_bool(options, "settled", true);
  if (get(params, "timeout")) isomer_set(options, "timeout", get(params, "timeout"));
  return isomer_mcall(ctx, get(params, "calls"), options);
}

static isomer_value wait_for(isomer_ctx *ctx, isomer_value params) {
  const char *names[20];
  size_t n = 0;
  for (isomer_json *one = isomer_first(get(params, "services")); one && n < 20; one = isomer_next(one))
    names[n++] = isomer_text(one, "");
  return isomer_wait_for(ctx, names, n, (int64_t)isomer_number(get(params, "timeout"), -1));
}

static isomer_value secret(isomer_ctx *ctx, isomer_value params) {
  (void)ctx, (void)params;
  return isomer_from_text("only for this service");
}

/* ---- Events --------------------------------------------------------------------------------------------------- */

static isomer_value emit(isomer_ctx *ctx, isomer_value params) {
  const char *event = text(params, "event"), *how = text(params, "kind");
  isomer_value data = given(isomer_parse(params), "data");
  isomer_json *options = get(params, "options");
  if (strcmp(how, "broadcast") == 0) return isomer_broadcast(ctx, event, data, options);
  if (strcmp(how, "broadcastLocal") == 0) return isomer_broadcast_local(ctx, event, data, options);
  return isomer_emit(ctx, event, data, options);
}

static isomer_value events(isomer_ctx *ctx, isomer_value params) {
  (void)ctx, (void)params;
  isomer_json *list = isomer_array();
  for (size_t i = 0; i < n_noted; i++) {
    isomer_add(list, isomer_raw(noted[i]));
    free(noted[i]);
  }
  n_noted = 0;
  return isomer_from(list);
}

static isomer_json *note_of(isomer_ctx *ctx, isomer_value data) {
  isomer_json *note = isomer_set(isomer_object(), "context", fields(ctx));
  return isomer_set(note, "data", isomer_json_of(data));
}

static isomer_value note(const isomer_json *json) {
  if (n_noted < sizeof noted / sizeof *noted) noted[n_noted++] = isomer_keep(isomer_write(json));
  return isomer_absent();
}

static isomer_value on_conformance(isomer_ctx *ctx, isomer_value data) {
  return note(isomer_set_bool(note_of(ctx, data), "absent", data.kind == ISOMER_ABSENT));
}

static isomer_value on_grouped(isomer_ctx *ctx, isomer_value data) {
  return note(isomer_set_text(note_of(ctx, data), "group", "conformance-group"));
}

static isomer_value on_failing(isomer_ctx *ctx, isomer_value data) {
  (void)ctx, (void)data;
  return isomer_client_error(418, "EVENT_FAILED", "the handler fails, as it should");
}

/* ---- Cache, hooks, fallback ----------------------------------------------------------------------------------- */

static isomer_value cached(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  isomer_json *seen = isomer_set(isomer_object(), "id", get(params, "id"));
  return isomer_from(isomer_set_number(seen, "runs", ++runs));
}

static isomer_value cacher(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  const char *what = text(params, "do"), *key = text(params, "key");
  double ttl = isomer_number(get(params, "ttl"), -1);
  if (strcmp(what, "enabled") == 0) return isomer_from_bool(isomer_cacher_enabled());
  if (strcmp(what, "set") == 0) return isomer_cacher_set(key, isomer_from(get(params, "value")), ttl);
  if (strcmp(what, "del") == 0) return isomer_cacher_del(key);
  if (strcmp(what, "clean") == 0) return isomer_cacher_clean(key);
  bool with_ttl = strcmp(what, "ttl") == 0;
  isomer_value value = with_ttl ? isomer_cacher_get_with_ttl(key, &ttl) : isomer_cacher_get(key);
  if (isomer_failed(value)) return value;
  isomer_json *seen = isomer_set_bool(isomer_object(), "found", value.kind != ISOMER_ABSENT);
  if (with_ttl) isomer_set(seen, "ttl", ttl < 0 ? NULL : isomer_num(ttl));
  else isomer_set(seen, "value", isomer_json_of(value));
  return isomer_from(seen);
}

/* Puts a name at the end of the list under a key. */
static isomer_value push(isomer_value value, const char *key, const char *name) {
  isomer_json *object = isomer_parse(value), *list = isomer_get(object, key);
  if (!list) {
    list = isomer_array();
    isomer_set(object, key, list);
  }
  isomer_add(list, isomer_str(name));
  return isomer_from(object);
}

static isomer_value seen_by(const isomer_error *error, const char *name) {
  isomer_error changed = *error;
  changed.message = isomer_format("%s, seen by %s", error->message, name);
  return isomer_fail(&changed);
}

static isomer_value service_before(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  return push(params, "seen", "service");
}

static isomer_value service_after(isomer_ctx *ctx, isomer_value params, isomer_value result) {
  (void)ctx, (void)params;
  return push(result, "after", "service");
}

static isomer_value service_error(isomer_ctx *ctx, isomer_value params, const isomer_error *error) {
  (void)ctx, (void)params;
  return seen_by(error, "service");
}

static isomer_value own_before(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  return push(params, "seen", "action");
}

static isomer_value own_after(isomer_ctx *ctx, isomer_value params, isomer_value result) {
  (void)ctx, (void)params;
  return push(result, "after", "action");
}

static isomer_value own_error(isomer_ctx *ctx, isomer_value params, const isomer_error *error) {
  (void)ctx;
  if (isomer_bool(get(params, "recover"), false))
    return isomer_from(isomer_set_text(isomer_object(), "recovered", error->message));
  return seen_by(error, "action");
}

static isomer_value hooked(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  if (isomer_bool(get(params, "fail"), false)) return isomer_server_error(500, "HOOKED", "failed");
  isomer_json *seen = isomer_set(isomer_object(), "seen", get(params, "seen"));
  return isomer_from(isomer_set(seen, "after", isomer_array()));
}

static isomer_value saved(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  isomer_json *at = isomer_set_number(isomer_object(), "at", 1);
  return isomer_with_data(isomer_client_error(409, "NOT_SAVED", "%s", text(params, "why")), at);
}

static isomer_value instead(isomer_ctx *ctx, isomer_value params) {
  const isomer_error *cause = isomer_cause(ctx);
  isomer_json *seen = isomer_set_text(isomer_object(), "instead", cause->message);
  isomer_set_text(seen, "type", cause->type);
  isomer_set(seen, "data", isomer_raw(cause->data));
  return isomer_from(isomer_set(seen, "params", isomer_json_of(params)));
}

/* ---- Limits --------------------------------------------------------------------------------------------------- */

static isomer_value spin(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  double n = number(params, "n");
  for (volatile double round = 0; n == 0 || round < n;) round = round + 1;
  return isomer_from_number(n);
}

static isomer_value hoard(isomer_ctx *ctx, isomer_value params) {
  (void)ctx;
  double mib = number(params, "mib");
  for (double i = 0; i < mib; i++) {
    char *kept = malloc(1 << 20);
    if (!kept) abort();
    memset(kept, 1, 1 << 20);
    /* So that the compiler does not see that nobody reads it. */
    *(volatile char *)kept = 2;
  }
  return isomer_from_number(mib);
}

/* ---- Streams -------------------------------------------------------------------------------------------------- */

static isomer_value reading(isomer_reader *reader) {
  double n_bytes = 0;
  isomer_json *values = isomer_array();
  const char *end = "end";
  for (;;) {
    isomer_mark mark = isomer_mark_here();
    isomer_value chunk = isomer_read(reader);
    if (isomer_failed(chunk)) end = chunk.error->type;
    if (isomer_failed(chunk) || chunk.kind == ISOMER_ABSENT) break;
    if (chunk.kind == ISOMER_BYTES) {
      n_bytes += (double)chunk.len;
      isomer_rewind(mark);
    } else {
      isomer_add(values, isomer_json_of(chunk));
    }
  }
  isomer_json *seen = isomer_set_bool(isomer_object(), "objectMode", isomer_reader_is_of_values(reader));
  isomer_set_number(seen, "bytes", n_bytes);
  isomer_set(seen, "values", values);
  return isomer_from(isomer_set_text(seen, "end", end));
}

static isomer_value read_stream(isomer_ctx *ctx, isomer_value params) {
  (void)params;
  isomer_reader *reader = isomer_stream(ctx);
  return reader ? reading(reader) : isomer_from_json_text("null");
}

static isomer_value numbered(size_t n) { return isomer_from(isomer_set_number(isomer_object(), "n", (double)n)); }

static isomer_value write_stream(isomer_ctx *ctx, isomer_value params) {
  size_t n = (size_t)number(params, "n"), size = (size_t)number(params, "size");
  bool of_values = isomer_bool(get(params, "objectMode"), false);
  isomer_value failure;
  isomer_writer *writer = isomer_respond_stream(ctx, of_values, &failure);
  if (!writer) return failure;
  char *chunk = memset(isomer_alloc(size), 'x', size);
  for (size_t i = 0; i < n; i++) {
    isomer_value done = isomer_write_chunk(writer, of_values ? numbered(i) : isomer_from_bytes(chunk, size));
    if (isomer_failed(done)) return done;
  }
  if (!isomer_bool(get(params, "fail"), false)) return isomer_end(writer);
  isomer_fail_stream(writer, isomer_client_error(409, "LATE", "half way").error);
  return isomer_absent();
}

static isomer_value send_stream(isomer_ctx *ctx, isomer_value params) {
  size_t n = (size_t)number(params, "n");
  isomer_writer *writer;
  isomer_pending *pending =
      isomer_start_stream_call(ctx, text(params, "action"), isomer_absent(), NULL, true, &writer);
  for (size_t i = 0; i < n; i++) {
    isomer_value done = isomer_write_chunk(writer, numbered(i));
    if (isomer_failed(done)) return done;
  }
  isomer_value done = isomer_end(writer);
  return isomer_failed(done) ? done : isomer_take(pending);
}

static isomer_value take_stream(isomer_ctx *ctx, isomer_value params) {
  isomer_value failure;
  isomer_reader *reader = isomer_take_stream(start(ctx, isomer_parse(params)), &failure);
  return reader ? reading(reader) : failure;
}

/* ---- The service ---------------------------------------------------------------------------------------------- */

#define VALIDATED                                                                                            \
  ISOMER_TEXT_OF({                                                                                           \
    "params": {                                                                                              \
      "id": {"type": "number", "integer": true, "positive": true},                                           \
      "name": {"type": "string", "min": 3, "optional": true},                                                \
      "tags": {"type": "array", "items": "string", "optional": true},                                        \
      "$$strict": true                                                                                       \
    }                                                                                                        \
  })

static const isomer_action actions[] = {
    {.name = "echo", .run = echo, .schema = ISOMER_TEXT_OF({"x-custom": {"deep": [1, null]}})},
    {.name = "kind", .run = kind},
    {.name = "nothing", .run = nothing},
    {.name = "bytes", .run = bytes},
    {.name = "sum", .run = sum},
    {.name = "roundtrip", .run = roundtrip},
    {.name = "context", .run = context},
    {.name = "setMeta", .run = set_meta},
    {.name = "setHeaders", .run = set_headers},
    {.name = "log", .run = write_log},
    {.name = "count", .run = count_calls},
    {.name = "fail", .run = fail},
    {.name = "trap", .run = trap},
    {.name = "call", .run = call},
    {.name = "callAndMeta", .run = call_and_meta},
    {.name = "parallel", .run = parallel},
    {.name = "mcall", .run = mcall},
    {.name = "waitFor", .run = wait_for},
    {.name = "secret", .run = secret, .schema = ISOMER_TEXT_OF({"visibility": "private"})},
    {.name = "emit", .run = emit},
    {.name = "events", .run = events},
    {.name = "validated", .run = echo, .schema = VALIDATED},
    {.name = "cached", .run = cached, .schema = ISOMER_TEXT_OF({"cache": {"keys": ["id"], "ttl": 60}})},
    {.name = "cacher", .run = cacher},
    {.name = "hooked", .run = hooked, .before = own_before, .after = own_after, .on_error = own_error},
    {.name = "saved", .run = saved, .fallback = instead},
    {.name = "spin", .run = spin, .schema = ISOMER_TEXT_OF({"isomer": {"limits": {"fuel": 50000000}}})},
    {.name = "hoard", .run = hoard},
    {.name = "readStream", .run = read_stream},
    {.name = "writeStream", .run = write_stream},
    {.name = "sendStream", .run = send_stream},
    {.name = "takeStream", .run = take_stream},
    {0},
};

static const isomer_event handlers[] = {
    {.pattern = "conformance.*", .run = on_conformance},
    {.pattern = "grouped.**", .run = on_grouped, .schema = ISOMER_TEXT_OF({"group": "conformance-group"})},
    {.pattern = "failing.event", .run = on_failing},
    {0},
};

static const isomer_hook hooks[] = {
    {.pattern = "hook*", .before = service_before, .after = service_after, .on_error = service_error},
    {0},
};

ISOMER_SERVICE(
    .name = "conformance",
    .schema = ISOMER_TEXT_OF({"settings": {"color": "red", "size": 5}, "metadata": {"kind": "conformance"}}),
    .actions = actions,
    .events = handlers,
    .hooks = hooks,
    .started = on_started,
    .stopped = on_stopped)
