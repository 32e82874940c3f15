/* isomer.h: services for Isomer in C, C++ and whatever else can read a C header.
 *
 *   #include "isomer.h"
 *
 *   static isomer_value hello(isomer_ctx *ctx, isomer_value params) {
 *     const char *name = isomer_text(isomer_get(isomer_parse(params), "name"), "world");
 *     return isomer_from_text(isomer_format("Hello %s!", name));
 *   }
 *
 *   static const isomer_action actions[] = {{.name = "hello", .run = hello}, {0}};
 *   ISOMER_SERVICE(.name = "greeter", .actions = actions)
 *
 * Memory: everything that these functions give (values, texts, JSON, contexts, calls, streams) is valid until the
 * running handler has returned, and nothing of it has to be freed. What has to live longer is copied by its owner
 * (isomer_keep). One handler runs at a time in an instance, so there is no locking.
 *
 * Failing: what can fail gives an isomer_value; isomer_failed tells, and a handler passes a failure on by returning it.
 *
 * The WIT package says what everything means in detail; generated/isomer_service.h has the same functions bare. */
#ifndef ISOMER_H
#define ISOMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The context of the running handler. */
typedef struct isomer_ctx isomer_ctx;
/* A JSON value that has been read or is being built. NULL is a value that is not there. */
typedef struct isomer_json isomer_json;
/* A call that has been started. */
typedef struct isomer_pending isomer_pending;
/* The two ends of a stream. */
typedef struct isomer_reader isomer_reader;
typedef struct isomer_writer isomer_writer;

/* ---- Values -------------------------------------------------------------------------------------------------- */

typedef enum {
  ISOMER_ABSENT, /* no value: JavaScript's undefined; also the end of a stream, and success without a result */
  ISOMER_JSON,   /* one JSON text in UTF-8 */
  ISOMER_BYTES,  /* raw bytes: a Buffer in Node.js */
  ISOMER_FAILED  /* an error in the place of a value */
} isomer_kind;

/* An error as every Moleculer node understands it. Texts that are not there are NULL. */
typedef struct {
  const char *name;    /* the class, such as MoleculerClientError */
  const char *message; /* one sentence for a person */
  bool has_code;
  uint32_t code;    /* by convention HTTP's */
  const char *type; /* a word for programs, such as NOT_FOUND */
  bool retryable;
  const char *data;  /* JSON text */
  const char *stack; /* where it happened */
  const char *extra; /* the text of a JSON object: further fields, such as nodeID */
} isomer_error;

/* The params of an action, its result, the data of an event, a chunk of a stream. */
typedef struct {
  isomer_kind kind;
  const char *data; /* the text (followed by a NUL that does not count) or the bytes */
  size_t len;
  const isomer_error *error; /* when it is ISOMER_FAILED */
} isomer_value;

isomer_value isomer_absent(void);
/* JSON from text that is JSON already, from a value that was built, and from a C string. */
isomer_value isomer_from_json_text(const char *text);
isomer_value isomer_from(const isomer_json *json);
isomer_value isomer_from_text(const char *text);
isomer_value isomer_from_number(double number);
isomer_value isomer_from_bool(bool truth);
/* The bytes are not copied: they have to outlive the handler (isomer_alloc, static, or kept by the service). */
isomer_value isomer_from_bytes(const void *bytes, size_t len);

static inline bool isomer_failed(isomer_value value) { return value.kind == ISOMER_FAILED; }

/* ---- Errors -------------------------------------------------------------------------------------------------- */

/* Failures to return from a handler: a MoleculerClientError (the caller's fault), a MoleculerError (500 and the like). */
isomer_value isomer_client_error(uint32_t code, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
isomer_value isomer_server_error(uint32_t code, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A failure with any error, which is copied; and with data (any JSON) added. */
isomer_value isomer_fail(const isomer_error *error);
isomer_value isomer_with_data(isomer_value failure, const isomer_json *data);
/* The JSON form of errors, {"name", "message", "code", "type", "retryable", "data", ...}, both ways. */
isomer_json *isomer_error_to_json(const isomer_error *error);
const isomer_error *isomer_error_from_json(const isomer_json *json);

/* ---- JSON ---------------------------------------------------------------------------------------------------- */

typedef enum {
  ISOMER_NULL,
  ISOMER_BOOL,
  ISOMER_NUMBER,
  ISOMER_TEXT,
  ISOMER_ARRAY,
  ISOMER_OBJECT
} isomer_type;

/* Reads. Bytes, a failure and text that is no JSON give NULL; nothing at all gives an empty object, as in JavaScript. */
isomer_json *isomer_parse(isomer_value value);
isomer_json *isomer_parse_text(const char *text, size_t len);

/* These take NULL for a value that is not there, and give the last argument when it is not of that type. */
isomer_type isomer_type_of(const isomer_json *json); /* ISOMER_NULL for NULL */
bool isomer_is(const isomer_json *json, isomer_type type);
double isomer_number(const isomer_json *json, double otherwise);
bool isomer_bool(const isomer_json *json, bool otherwise);
const char *isomer_text(const isomer_json *json, const char *otherwise);
size_t isomer_text_len(const isomer_json *json); /* texts may hold NULs */

isomer_json *isomer_get(const isomer_json *object, const char *key);
isomer_json *isomer_at(const isomer_json *array, size_t index);
size_t isomer_count(const isomer_json *array_or_object);
/* for (item = isomer_first(list); item; item = isomer_next(item)) ...; the key is that of a member of an object. */
isomer_json *isomer_first(const isomer_json *array_or_object);
isomer_json *isomer_next(const isomer_json *item);
const char *isomer_key(const isomer_json *item);

isomer_json *isomer_null(void);
isomer_json *isomer_truth(bool truth);
isomer_json *isomer_num(double number);
isomer_json *isomer_str(const char *text); /* NULL becomes null */
isomer_json *isomer_str_n(const char *text, size_t len);
isomer_json *isomer_raw(const char *json_text); /* taken as it is */
isomer_json *isomer_object(void);
isomer_json *isomer_array(void);
/* A JSON value made of a whole value: of JSON its value, of nothing null, of bytes the JSON form of a Buffer. */
isomer_json *isomer_json_of(isomer_value value);

/* Put a member (another of the same key is replaced) or an item. A value that has a place is copied. They give the first. */
isomer_json *isomer_set(isomer_json *object, const char *key, const isomer_json *value);
isomer_json *isomer_set_text(isomer_json *object, const char *key, const char *text);
isomer_json *isomer_set_number(isomer_json *object, const char *key, double number);
isomer_json *isomer_set_bool(isomer_json *object, const char *key, bool truth);
isomer_json *isomer_add(isomer_json *array, const isomer_json *value);

/* The text of a value. */
const char *isomer_write(const isomer_json *json);

/* ---- Memory -------------------------------------------------------------------------------------------------- */

void *isomer_alloc(size_t len);
/* For loops that run long, over the chunks of a stream for instance: everything that was given since the mark is given
 * back at once. Calls and streams stay. */
typedef struct {
  void *chunk;
  size_t used;
} isomer_mark;
isomer_mark isomer_mark_here(void);
void isomer_rewind(isomer_mark mark);
/* As printf. */
const char *isomer_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A copy that lives until its owner calls free. */
char *isomer_keep(const char *text);

/* ---- Context ------------------------------------------------------------------------------------------------- */

const char *isomer_id(isomer_ctx *ctx);
const char *isomer_request_id(isomer_ctx *ctx);
const char *isomer_parent_id(isomer_ctx *ctx); /* NULL at the root of a chain */
const char *isomer_caller(isomer_ctx *ctx);    /* NULL when no service calls */
uint32_t isomer_level(isomer_ctx *ctx);
const char *isomer_node_id(isomer_ctx *ctx);    /* where the call or event comes from */
const char *isomer_name(isomer_ctx *ctx);       /* the full name of the action, or the name of the event */
const char *isomer_event_type(isomer_ctx *ctx); /* emit, broadcast, broadcastLocal; NULL in an action */
isomer_json *isomer_event_groups(isomer_ctx *ctx);
isomer_json *isomer_meta(isomer_ctx *ctx);
isomer_value isomer_set_meta(isomer_ctx *ctx, const isomer_json *object);
isomer_json *isomer_headers(isomer_ctx *ctx);
isomer_value isomer_set_response_headers(isomer_ctx *ctx, const isomer_json *object);
bool isomer_remaining_time(isomer_ctx *ctx, uint32_t *milliseconds); /* false without a limit */
const isomer_error *isomer_cause(isomer_ctx *ctx);                   /* in a fallback: what went wrong */

/* Where the service runs. */
isomer_json *isomer_settings(void);
const char *isomer_own_name(void);
const char *isomer_local_node_id(void);
const char *isomer_namespace(void);

/* ---- Calls and events ---------------------------------------------------------------------------------------- */

/* Options are an object with Moleculer's names (timeout, retries, meta, headers, nodeID ...), or NULL. */
isomer_value isomer_call(isomer_ctx *ctx, const char *action, isomer_value params, const isomer_json *options);
isomer_value isomer_mcall(isomer_ctx *ctx, const isomer_json *calls, const isomer_json *options);

/* Calls in flight at once: start them, wait for any, take its result. A call that is not taken is abandoned at the end
 * of the handler, or by isomer_abandon. */
isomer_pending *isomer_start_call(isomer_ctx *ctx, const char *action, isomer_value params, const isomer_json *options);
/* The index of one that is done; NULLs are passed over; n when there is none. */
size_t isomer_wait_any(isomer_pending *const *calls, size_t n);
isomer_value isomer_take(isomer_pending *call); /* waits, if need be */
void isomer_abandon(isomer_pending *call);

/* Events; options: groups, meta, headers, requestID, throwError. */
isomer_value isomer_emit(isomer_ctx *ctx, const char *event, isomer_value data, const isomer_json *options);
isomer_value isomer_broadcast(isomer_ctx *ctx, const char *event, isomer_value data, const isomer_json *options);
isomer_value isomer_broadcast_local(isomer_ctx *ctx, const char *event, isomer_value data, const isomer_json *options);

/* Waits until services are available, at most so many milliseconds (negative: as long as the handler may run). */
isomer_value isomer_wait_for(isomer_ctx *ctx, const char *const *services, size_t n, int64_t timeout);

/* ---- Streams ------------------------------------------------------------------------------------------------- */

/* The stream that the caller sends; NULL without one. */
isomer_reader *isomer_stream(isomer_ctx *ctx);
bool isomer_reader_is_of_values(isomer_reader *reader);
/* The next chunk, after waiting; ISOMER_ABSENT at the end. */
isomer_value isomer_read(isomer_reader *reader);
/* Answers the caller with a stream: of JSON values, or of bytes. NULL when that cannot be, with the reason in failure. */
isomer_writer *isomer_respond_stream(isomer_ctx *ctx, bool of_values, isomer_value *failure);
isomer_value isomer_write_chunk(isomer_writer *writer, isomer_value chunk);
isomer_value isomer_end(isomer_writer *writer);
void isomer_fail_stream(isomer_writer *writer, const isomer_error *error);

/* A call that sends a stream, which has to be ended before the result is taken; and the stream that a call was
 * answered with (NULL when there is none, with the reason in failure). */
isomer_pending *isomer_start_stream_call(isomer_ctx *ctx, const char *action, isomer_value params,
                                         const isomer_json *options, bool of_values, isomer_writer **writer);
isomer_reader *isomer_take_stream(isomer_pending *call, isomer_value *failure);

/* ---- Log and cacher ------------------------------------------------------------------------------------------ */

typedef enum { ISOMER_FATAL, ISOMER_ERROR, ISOMER_WARN, ISOMER_INFO, ISOMER_DEBUG, ISOMER_TRACE } isomer_level_t;

bool isomer_log_enabled(isomer_level_t level);
/* Fields are an object or NULL. */
void isomer_log(isomer_level_t level, const isomer_json *fields, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool isomer_cacher_enabled(void);
/* ISOMER_ABSENT when there is nothing. */
isomer_value isomer_cacher_get(const char *key);
/* The same with the seconds that it is kept for (negative: without an end). */
isomer_value isomer_cacher_get_with_ttl(const char *key, double *ttl);
/* ttl in seconds: 0 is for ever, negative is what the node says. */
isomer_value isomer_cacher_set(const char *key, isomer_value value, double ttl);
isomer_value isomer_cacher_del(const char *key);
isomer_value isomer_cacher_clean(const char *pattern);

/* ---- The service --------------------------------------------------------------------------------------------- */

/* A handler: of an action (gives its result), of an event and of the lifecycle (ISOMER_ABSENT, or a failure). */
typedef isomer_value (*isomer_handler)(isomer_ctx *ctx, isomer_value params);
/* Before an action: gives its params. After it: gives its result. Of an error: gives a result, or the failure. */
typedef isomer_value (*isomer_before)(isomer_ctx *ctx, isomer_value params);
typedef isomer_value (*isomer_after)(isomer_ctx *ctx, isomer_value params, isomer_value result);
typedef isomer_value (*isomer_on_error)(isomer_ctx *ctx, isomer_value params, const isomer_error *error);

/* JSON as it is written, instead of a string full of backslashes: ISOMER_TEXT_OF({"params": {"id": "number"}}). */
#define ISOMER_TEXT_OF(...) #__VA_ARGS__

/* Lists end with {0}. A schema is the text of a JSON object with Moleculer's keys, or NULL. */
typedef struct {
  const char *name;
  isomer_handler run;
  const char *schema;      /* {"params": ..., "cache": ..., "visibility": ..., "rest": ...} */
  isomer_handler fallback; /* answers in its place when it has failed for good; see isomer_cause */
  isomer_before before;
  isomer_after after;
  isomer_on_error on_error;
} isomer_action;

typedef struct {
  const char *pattern;
  isomer_handler run;
  const char *schema; /* {"group": ...} */
} isomer_event;

/* Hooks of the whole service; the pattern is of names of actions: `*`, `get|list`, `cre*`. */
typedef struct {
  const char *pattern;
  isomer_before before;
  isomer_after after;
  isomer_on_error on_error;
} isomer_hook;

typedef struct {
  const char *name;
  const char *schema; /* {"version": ..., "settings": ..., "metadata": ..., "dependencies": ..., "isomer": ...} */
  const isomer_action *actions;
  const isomer_event *events;
  const isomer_hook *hooks;
  isomer_handler started;
  isomer_handler stopped;
} isomer_service;

extern const isomer_service isomer_the_service;

/* The one service of a component. */
#ifdef __cplusplus
#define ISOMER_SERVICE(...) extern "C" const isomer_service isomer_the_service = {__VA_ARGS__};
#else
#define ISOMER_SERVICE(...) const isomer_service isomer_the_service = {__VA_ARGS__};
#endif

#ifdef __cplusplus
}
#endif
#endif
