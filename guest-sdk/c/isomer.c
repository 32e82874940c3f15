/* Contexts, calls, events, streams, log, cacher and config: the names of isomer.h over the generated bindings. */
#include "isomer_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- Texts and values ---------------------------------------------------------------------------------------- */

isomer_service_string_t isomer_wit(const char *text) { return isomer_wit_text(text, strlen(text)); }

const char *isomer_c(isomer_service_string_t text) { return text.len > 0 ? (const char *)text.ptr : ""; }

static isomer_service_option_string_t maybe(const char *text) {
  isomer_service_option_string_t option = {.is_some = text != NULL};
  if (text) option.val = isomer_wit(text);
  return option;
}

static const char *maybe_c(isomer_service_option_string_t text) { return text.is_some ? isomer_c(text.val) : NULL; }

isomer_value isomer_absent(void) { return (isomer_value){.kind = ISOMER_ABSENT, .data = ""}; }

static isomer_value json_value(const char *text, size_t len) {
  return (isomer_value){.kind = ISOMER_JSON, .data = text, .len = len};
}

isomer_value isomer_from_json_text(const char *text) { return json_value(text, strlen(text)); }
isomer_value isomer_from_text(const char *text) { return isomer_from(isomer_str(text)); }
isomer_value isomer_from_number(double number) { return isomer_from(isomer_num(number)); }
isomer_value isomer_from_bool(bool truth) { return isomer_from_json_text(truth ? "true" : "false"); }

isomer_value isomer_from_bytes(const void *bytes, size_t len) {
  return (isomer_value){.kind = ISOMER_BYTES, .data = bytes, .len = len};
}

isomer_service_types_payload_t isomer_payload_of(isomer_value value) {
  isomer_service_types_payload_t payload = {.tag = ISOMER_SERVICE_TYPES_PAYLOAD_ABSENT};
  if (value.kind == ISOMER_JSON) {
    payload.tag = ISOMER_SERVICE_TYPES_PAYLOAD_JSON;
    payload.val.json = isomer_wit_text(value.data, value.len);
  } else if (value.kind == ISOMER_BYTES) {
    payload.tag = ISOMER_SERVICE_TYPES_PAYLOAD_BYTES;
    payload.val.bytes = (isomer_service_list_u8_t){.ptr = (uint8_t *)value.data, .len = value.len};
  }
  return payload;
}

isomer_value isomer_value_of(isomer_service_types_payload_t payload) {
  switch (payload.tag) {
  case ISOMER_SERVICE_TYPES_PAYLOAD_JSON: return json_value(isomer_c(payload.val.json), payload.val.json.len);
  case ISOMER_SERVICE_TYPES_PAYLOAD_BYTES: return isomer_from_bytes(payload.val.bytes.ptr, payload.val.bytes.len);
  default: return isomer_absent();
  }
}

/* ---- Errors -------------------------------------------------------------------------------------------------- */

isomer_value isomer_fail(const isomer_error *error) {
  isomer_error *copy = isomer_alloc(sizeof *copy);
  *copy = *error;
  return (isomer_value){.kind = ISOMER_FAILED, .data = "", .error = copy};
}

static isomer_value failure(const char *name, uint32_t code, const char *type, const char *format, va_list arguments) {
  const char *message = isomer_format_list(format, arguments);
  isomer_error error = {.name = name, .message = message, .has_code = true, .code = code, .type = type};
  return isomer_fail(&error);
}

isomer_value isomer_client_error(uint32_t code, const char *type, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  isomer_value value = failure("MoleculerClientError", code, type, format, arguments);
  va_end(arguments);
  return value;
}

isomer_value isomer_server_error(uint32_t code, const char *type, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  isomer_value value = failure("MoleculerError", code, type, format, arguments);
  va_end(arguments);
  return value;
}

isomer_value isomer_with_data(isomer_value failure, const isomer_json *data) {
  if (!isomer_failed(failure)) return failure;
  isomer_error error = *failure.error;
  error.data = isomer_write(data);
  return isomer_fail(&error);
}

isomer_service_types_failure_t isomer_failure_of(const isomer_error *error) {
  return (isomer_service_types_failure_t){
      .name = isomer_wit(error->name ? error->name : "MoleculerError"),
      .message = isomer_wit(error->message ? error->message : ""),
      .code = {.is_some = error->has_code, .val = error->code},
      .type = maybe(error->type),
      .retryable = error->retryable,
      .data = maybe(error->data),
      .stack = maybe(error->stack),
      .extra = maybe(error->extra),
  };
}

const isomer_error *isomer_error_of(isomer_service_types_failure_t failure) {
  isomer_error *error = isomer_alloc(sizeof *error);
  *error = (isomer_error){
      .name = isomer_c(failure.name),
      .message = isomer_c(failure.message),
      .has_code = failure.code.is_some,
      .code = failure.code.is_some ? failure.code.val : 0,
      .type = maybe_c(failure.type),
      .retryable = failure.retryable,
      .data = maybe_c(failure.data),
      .stack = maybe_c(failure.stack),
      .extra = maybe_c(failure.extra),
  };
  return error;
}

isomer_value isomer_failed_with(isomer_service_types_failure_t failure) {
  return (isomer_value){.kind = ISOMER_FAILED, .data = "", .error = isomer_error_of(failure)};
}

isomer_json *isomer_error_to_json(const isomer_error *error) {
  isomer_json *json = isomer_object();
  isomer_set_text(json, "name", error->name);
  isomer_set_text(json, "message", error->message);
  if (error->has_code) isomer_set_number(json, "code", error->code);
  if (error->type) isomer_set_text(json, "type", error->type);
  isomer_set_bool(json, "retryable", error->retryable);
  if (error->data) isomer_set(json, "data", isomer_raw(error->data));
  if (error->stack) isomer_set_text(json, "stack", error->stack);
  if (error->extra)
    for (isomer_json *field = isomer_first(isomer_raw(error->extra)); field; field = isomer_next(field))
      isomer_set(json, isomer_key(field), field);
  return json;
}

const isomer_error *isomer_error_from_json(const isomer_json *json) {
  static const char *const known[] = {"name", "message", "code", "type", "retryable", "data", "stack"};
  isomer_error *error = isomer_alloc(sizeof *error);
  const isomer_json *code = isomer_get(json, "code"), *data = isomer_get(json, "data");
  double number = isomer_number(code, -1);
  *error = (isomer_error){
      .name = isomer_text(isomer_get(json, "name"), "MoleculerError"),
      .message = isomer_text(isomer_get(json, "message"), ""),
      .has_code = number >= 0 && number <= UINT32_MAX,
      .type = isomer_text(isomer_get(json, "type"), NULL),
      .retryable = isomer_bool(isomer_get(json, "retryable"), false),
      .data = data ? isomer_write(data) : NULL,
      .stack = isomer_text(isomer_get(json, "stack"), NULL),
  };
  if (error->has_code) error->code = (uint32_t)number;
  isomer_json *extra = isomer_object();
  for (isomer_json *field = isomer_first(json); field; field = isomer_next(field)) {
    bool is_known = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) is_known |= strcmp(known[i], isomer_key(field)) == 0;
    if (!is_known) isomer_set(extra, isomer_key(field), field);
  }
  if (isomer_count(extra) > 0) error->extra = isomer_write(extra);
  return error;
}

/* ---- Context ------------------------------------------------------------------------------------------------- */

#define TEXT_GETTER(name, function)                   \
  const char *name(isomer_ctx *ctx) {                 \
    isomer_service_string_t text;                     \
    function(ctx->handle, &text);                     \
    return isomer_c(text);                            \
  }
#define MAYBE_TEXT_GETTER(name, function)                       \
  const char *name(isomer_ctx *ctx) {                           \
    isomer_service_string_t text;                               \
    return function(ctx->handle, &text) ? isomer_c(text) : NULL; \
  }
#define OBJECT_GETTER(name, function)                              \
  isomer_json *name(isomer_ctx *ctx) {                             \
    isomer_service_string_t text;                                  \
    function(ctx->handle, &text);                                  \
    return isomer_parse_text(isomer_c(text), text.len);            \
  }
#define OBJECT_SETTER(name, function)                                            \
  isomer_value name(isomer_ctx *ctx, const isomer_json *object) {                \
    isomer_service_string_t text = isomer_wit(isomer_write(object));             \
    isomer_service_types_failure_t failure;                                      \
    return function(ctx->handle, &text, &failure) ? isomer_absent() : isomer_failed_with(failure); \
  }

TEXT_GETTER(isomer_id, isomer_service_broker_method_context_id)
TEXT_GETTER(isomer_request_id, isomer_service_broker_method_context_request_id)
TEXT_GETTER(isomer_node_id, isomer_service_broker_method_context_node_id)
TEXT_GETTER(isomer_name, isomer_service_broker_method_context_name)
MAYBE_TEXT_GETTER(isomer_parent_id, isomer_service_broker_method_context_parent_id)
MAYBE_TEXT_GETTER(isomer_caller, isomer_service_broker_method_context_caller)
OBJECT_GETTER(isomer_meta, isomer_service_broker_method_context_meta)
OBJECT_GETTER(isomer_headers, isomer_service_broker_method_context_headers)
OBJECT_SETTER(isomer_set_meta, isomer_service_broker_method_context_set_meta)
OBJECT_SETTER(isomer_set_response_headers, isomer_service_broker_method_context_set_response_headers)

uint32_t isomer_level(isomer_ctx *ctx) { return isomer_service_broker_method_context_level(ctx->handle); }

const char *isomer_event_type(isomer_ctx *ctx) {
  static const char *const names[] = {"emit", "broadcast", "broadcastLocal"};
  isomer_service_broker_event_type_t type;
  if (!isomer_service_broker_method_context_event_type(ctx->handle, &type)) return NULL;
  return names[type];
}

isomer_json *isomer_event_groups(isomer_ctx *ctx) {
  isomer_service_list_string_t groups;
  isomer_service_broker_method_context_event_groups(ctx->handle, &groups);
  isomer_json *list = isomer_array();
  for (size_t i = 0; i < groups.len; i++)
    isomer_add(list, isomer_str_n(isomer_c(groups.ptr[i]), groups.ptr[i].len));
  return list;
}

bool isomer_remaining_time(isomer_ctx *ctx, uint32_t *milliseconds) {
  return isomer_service_broker_method_context_remaining_time(ctx->handle, milliseconds);
}

const isomer_error *isomer_cause(isomer_ctx *ctx) {
  isomer_service_types_failure_t failure;
  if (!isomer_service_broker_method_context_cause(ctx->handle, &failure)) return NULL;
  return isomer_error_of(failure);
}

isomer_json *isomer_settings(void) {
  isomer_service_string_t text;
  isomer_service_config_settings(&text);
  return isomer_parse_text(isomer_c(text), text.len);
}

#define CONFIG_GETTER(name, function) \
  const char *name(void) {            \
    isomer_service_string_t text;     \
    function(&text);                  \
    return isomer_c(text);            \
  }
CONFIG_GETTER(isomer_own_name, isomer_service_config_service)
CONFIG_GETTER(isomer_local_node_id, isomer_service_config_node_id)
CONFIG_GETTER(isomer_namespace, isomer_service_config_namespace)

/* ---- Calls and events ---------------------------------------------------------------------------------------- */

/* What a handler has open in the host: one list, so that everything can be closed at its end. */
typedef enum { CLOSED, PENDING, READER, WRITER } open_kind;
typedef struct open {
  open_kind kind;
  int32_t handle;
  struct open *next;
} open;
struct isomer_pending {
  open base;
};
struct isomer_reader {
  open base;
};
struct isomer_writer {
  open base;
};
static open *all_open;

static void *opened(open_kind kind, int32_t handle) {
  open *one = malloc(sizeof *one);
  if (!one) abort();
  *one = (open){kind, handle, all_open};
  all_open = one;
  return one;
}

static void close_one(open *one) {
  switch (one->kind) {
  case PENDING:
    isomer_service_broker_pending_call_drop_own((isomer_service_broker_own_pending_call_t){one->handle});
    break;
  case READER: isomer_service_streams_reader_drop_own((isomer_service_streams_own_reader_t){one->handle}); break;
  case WRITER: isomer_service_streams_writer_drop_own((isomer_service_streams_own_writer_t){one->handle}); break;
  case CLOSED: break;
  }
  one->kind = CLOSED;
}

void isomer_close_all(void) {
  while (all_open) {
    open *one = all_open;
    all_open = one->next;
    close_one(one);
    free(one);
  }
}

static isomer_service_string_t *options_text(const isomer_json *options, isomer_service_string_t *place) {
  if (!options) return NULL;
  *place = isomer_wit(isomer_write(options));
  return place;
}

isomer_value isomer_call(isomer_ctx *ctx, const char *action, isomer_value params, const isomer_json *options) {
  isomer_service_string_t name = isomer_wit(action), place;
  isomer_service_types_payload_t payload = isomer_payload_of(params), result;
  isomer_service_types_failure_t failure;
  bool ok = isomer_service_broker_method_context_call(ctx->handle, &name, &payload, options_text(options, &place),
                                                      &result, &failure);
  return ok ? isomer_value_of(result) : isomer_failed_with(failure);
}

isomer_value isomer_mcall(isomer_ctx *ctx, const isomer_json *calls, const isomer_json *options) {
  isomer_service_string_t text = isomer_wit(isomer_write(calls)), place;
  isomer_service_types_payload_t result;
  isomer_service_types_failure_t failure;
  bool ok = isomer_service_broker_method_context_mcall(ctx->handle, &text, options_text(options, &place), &result,
                                                       &failure);
  return ok ? isomer_value_of(result) : isomer_failed_with(failure);
}

isomer_pending *isomer_start_call(isomer_ctx *ctx, const char *action, isomer_value params,
                                  const isomer_json *options) {
  isomer_service_string_t name = isomer_wit(action), place;
  isomer_service_types_payload_t payload = isomer_payload_of(params);
  return opened(PENDING, isomer_service_broker_method_context_start_call(ctx->handle, &name, &payload,
                                                                         options_text(options, &place))
                             .__handle);
}

static isomer_service_broker_borrow_pending_call_t borrow_call(const isomer_pending *call) {
  return isomer_service_broker_borrow_pending_call((isomer_service_broker_own_pending_call_t){call->base.handle});
}

size_t isomer_wait_any(isomer_pending *const *calls, size_t n) {
  isomer_service_broker_borrow_pending_call_t *handles = isomer_alloc(n * sizeof *handles);
  size_t *places = isomer_alloc(n * sizeof *places), n_open = 0;
  for (size_t i = 0; i < n; i++) {
    if (!calls[i] || calls[i]->base.kind != PENDING) continue;
    handles[n_open] = borrow_call(calls[i]);
    places[n_open++] = i;
  }
  isomer_service_broker_list_borrow_pending_call_t list = {handles, n_open};
  uint32_t done;
  return isomer_service_broker_wait_any(&list, &done) ? places[done] : n;
}

void isomer_abandon(isomer_pending *call) { close_one(&call->base); }

isomer_value isomer_take(isomer_pending *call) {
  if (!call || call->base.kind != PENDING) return isomer_absent();
  isomer_wait_any(&call, 1);
  isomer_service_broker_result_payload_failure_t result;
  bool taken = isomer_service_broker_method_pending_call_take(borrow_call(call), &result);
  isomer_value value = isomer_absent();
  if (taken) value = result.is_err ? isomer_failed_with(result.val.err) : isomer_value_of(result.val.ok);
  close_one(&call->base);
  return value;
}

typedef bool (*send)(isomer_service_broker_borrow_context_t, isomer_service_string_t *,
                     isomer_service_broker_payload_t *, isomer_service_string_t *, isomer_service_broker_failure_t *);

static isomer_value send_by(send send, isomer_ctx *ctx, const char *event, isomer_value data,
                            const isomer_json *options) {
  isomer_service_string_t name = isomer_wit(event), place;
  isomer_service_types_payload_t payload = isomer_payload_of(data);
  isomer_service_types_failure_t failure;
  bool ok = send(ctx->handle, &name, &payload, options_text(options, &place), &failure);
  return ok ? isomer_absent() : isomer_failed_with(failure);
}

isomer_value isomer_emit(isomer_ctx *ctx, const char *event, isomer_value data, const isomer_json *options) {
  return send_by(isomer_service_broker_method_context_emit, ctx, event, data, options);
}

isomer_value isomer_broadcast(isomer_ctx *ctx, const char *event, isomer_value data, const isomer_json *options) {
  return send_by(isomer_service_broker_method_context_broadcast, ctx, event, data, options);
}

isomer_value isomer_broadcast_local(isomer_ctx *ctx, const char *event, isomer_value data,
                                    const isomer_json *options) {
  return send_by(isomer_service_broker_method_context_broadcast_local, ctx, event, data, options);
}

isomer_value isomer_wait_for(isomer_ctx *ctx, const char *const *services, size_t n, int64_t timeout) {
  isomer_service_string_t *names = isomer_alloc(n * sizeof *names);
  for (size_t i = 0; i < n; i++) names[i] = isomer_wit(services[i]);
  isomer_service_list_string_t list = {names, n};
  uint32_t limit = (uint32_t)timeout;
  isomer_service_types_failure_t failure;
  bool ok = isomer_service_broker_method_context_wait_for_services(ctx->handle, &list, timeout < 0 ? NULL : &limit,
                                                                   &failure);
  return ok ? isomer_absent() : isomer_failed_with(failure);
}

/* ---- Streams ------------------------------------------------------------------------------------------------- */

isomer_reader *isomer_stream(isomer_ctx *ctx) {
  isomer_service_broker_own_reader_t handle;
  if (!isomer_service_broker_method_context_stream(ctx->handle, &handle)) return NULL;
  return opened(READER, handle.__handle);
}

static isomer_service_streams_borrow_reader_t borrow_reader(const isomer_reader *reader) {
  return isomer_service_streams_borrow_reader((isomer_service_streams_own_reader_t){reader->base.handle});
}

static isomer_service_streams_borrow_writer_t borrow_writer(const isomer_writer *writer) {
  return isomer_service_streams_borrow_writer((isomer_service_streams_own_writer_t){writer->base.handle});
}

bool isomer_reader_is_of_values(isomer_reader *reader) {
  return isomer_service_streams_method_reader_object_mode(borrow_reader(reader));
}

isomer_value isomer_read(isomer_reader *reader) {
  isomer_service_streams_option_payload_t chunk;
  isomer_service_types_failure_t failure;
  if (!isomer_service_streams_method_reader_read(borrow_reader(reader), &chunk, &failure))
    return isomer_failed_with(failure);
  return chunk.is_some ? isomer_value_of(chunk.val) : isomer_absent();
}

isomer_writer *isomer_respond_stream(isomer_ctx *ctx, bool of_values, isomer_value *failure) {
  isomer_service_broker_own_writer_t handle;
  isomer_service_types_failure_t error;
  if (isomer_service_broker_method_context_respond_stream(ctx->handle, of_values, &handle, &error))
    return opened(WRITER, handle.__handle);
  *failure = isomer_failed_with(error);
  return NULL;
}

isomer_value isomer_write_chunk(isomer_writer *writer, isomer_value chunk) {
  isomer_service_types_payload_t payload = isomer_payload_of(chunk);
  isomer_service_types_failure_t failure;
  bool ok = isomer_service_streams_method_writer_write(borrow_writer(writer), &payload, &failure);
  return ok ? isomer_absent() : isomer_failed_with(failure);
}

isomer_value isomer_end(isomer_writer *writer) {
  isomer_service_types_failure_t failure;
  bool ok = isomer_service_streams_method_writer_end(borrow_writer(writer), &failure);
  return ok ? isomer_absent() : isomer_failed_with(failure);
}

void isomer_fail_stream(isomer_writer *writer, const isomer_error *error) {
  isomer_service_types_failure_t failure = isomer_failure_of(error);
  isomer_service_streams_method_writer_fail(borrow_writer(writer), &failure);
}

isomer_pending *isomer_start_stream_call(isomer_ctx *ctx, const char *action, isomer_value params,
                                         const isomer_json *options, bool of_values, isomer_writer **writer) {
  isomer_service_string_t name = isomer_wit(action), place;
  isomer_service_types_payload_t payload = isomer_payload_of(params);
  isomer_service_broker_tuple2_own_writer_own_pending_call_t both;
  isomer_service_broker_method_context_start_stream_call(ctx->handle, &name, &payload, options_text(options, &place),
                                                         of_values, &both);
  *writer = opened(WRITER, both.f0.__handle);
  return opened(PENDING, both.f1.__handle);
}

isomer_reader *isomer_take_stream(isomer_pending *call, isomer_value *failure) {
  isomer_wait_any(&call, 1);
  isomer_service_broker_option_own_reader_t reader;
  isomer_service_types_failure_t error;
  if (!isomer_service_broker_method_pending_call_take_stream(borrow_call(call), &reader, &error)) {
    *failure = isomer_failed_with(error);
    return NULL;
  }
  if (reader.is_some) return opened(READER, reader.val.__handle);
  isomer_value result = isomer_take(call);
  *failure = isomer_failed(result) ? result
                                   : isomer_server_error(500, "UNEXPECTED_FORM", "the call was not answered with a stream");
  return NULL;
}

/* ---- Log and cacher ------------------------------------------------------------------------------------------ */

bool isomer_log_enabled(isomer_level_t level) {
  return isomer_service_logger_enabled((isomer_service_logger_level_t)level);
}

void isomer_log(isomer_level_t level, const isomer_json *fields, const char *format, ...) {
  if (!isomer_log_enabled(level)) return;
  va_list arguments;
  va_start(arguments, format);
  isomer_service_string_t message = isomer_wit(isomer_format_list(format, arguments)), place;
  va_end(arguments);
  isomer_service_logger_log((isomer_service_logger_level_t)level, &message, options_text(fields, &place));
}

bool isomer_cacher_enabled(void) { return isomer_service_cacher_enabled(); }

isomer_value isomer_cacher_get(const char *key) {
  isomer_service_string_t name = isomer_wit(key);
  isomer_service_cacher_option_payload_t found;
  isomer_service_types_failure_t failure;
  if (!isomer_service_cacher_get(&name, &found, &failure)) return isomer_failed_with(failure);
  return found.is_some ? isomer_value_of(found.val) : isomer_absent();
}

isomer_value isomer_cacher_get_with_ttl(const char *key, double *ttl) {
  isomer_service_string_t name = isomer_wit(key);
  isomer_service_cacher_option_tuple2_payload_option_f64_t found;
  isomer_service_types_failure_t failure;
  *ttl = -1;
  if (!isomer_service_cacher_get_with_ttl(&name, &found, &failure)) return isomer_failed_with(failure);
  if (!found.is_some) return isomer_absent();
  if (found.val.f1.is_some) *ttl = found.val.f1.val;
  return isomer_value_of(found.val.f0);
}

isomer_value isomer_cacher_set(const char *key, isomer_value value, double ttl) {
  isomer_service_string_t name = isomer_wit(key);
  isomer_service_types_payload_t payload = isomer_payload_of(value);
  isomer_service_types_failure_t failure;
  bool ok = isomer_service_cacher_set(&name, &payload, ttl < 0 ? NULL : &ttl, &failure);
  return ok ? isomer_absent() : isomer_failed_with(failure);
}

isomer_value isomer_cacher_del(const char *key) {
  isomer_service_string_t name = isomer_wit(key);
  isomer_service_list_string_t keys = {&name, 1};
  isomer_service_types_failure_t failure;
  return isomer_service_cacher_del(&keys, &failure) ? isomer_absent() : isomer_failed_with(failure);
}

isomer_value isomer_cacher_clean(const char *pattern) {
  isomer_service_string_t name = isomer_wit(pattern);
  isomer_service_list_string_t patterns = {&name, 1};
  isomer_service_types_failure_t failure;
  return isomer_service_cacher_clean(&patterns, &failure) ? isomer_absent() : isomer_failed_with(failure);
}
