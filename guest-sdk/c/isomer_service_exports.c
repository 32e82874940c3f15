/* The exports of the world `service`: the schema from the tables of the service, and the way to its handlers. */
#include "isomer_internal.h"

#include <string.h>

#define FALLBACK "|fallback"

static const isomer_action *find_action(const char *name, size_t len) {
  const isomer_action *action = isomer_the_service.actions;
  for (; action && action->name; action++)
    if (strlen(action->name) == len && memcmp(action->name, name, len) == 0) return action;
  return NULL;
}

static const isomer_event *find_event(const char *pattern) {
  const isomer_event *event = isomer_the_service.events;
  for (; event && event->pattern; event++)
    if (strcmp(event->pattern, pattern) == 0) return event;
  return NULL;
}

/* ---- Schema -------------------------------------------------------------------------------------------------- */

static isomer_json *object_from(const char *text) {
  isomer_json *json = text ? isomer_parse_text(text, strlen(text)) : isomer_object();
  return isomer_is(json, ISOMER_OBJECT) ? json : NULL;
}

static isomer_json *lifecycle(void) {
  isomer_json *list = isomer_array();
  if (isomer_the_service.started) isomer_add(list, isomer_str("started"));
  if (isomer_the_service.stopped) isomer_add(list, isomer_str("stopped"));
  return list;
}

/* NULL when a text of the service is no object; the host then says that the schema is no JSON. */
static isomer_json *schema(void) {
  isomer_json *root = object_from(isomer_the_service.schema);
  isomer_json *actions = isomer_object(), *events = isomer_object();
  if (!root) return NULL;
  isomer_set_text(root, "name", isomer_the_service.name);
  for (const isomer_action *action = isomer_the_service.actions; action && action->name; action++) {
    isomer_json *one = object_from(action->schema);
    if (!one) return NULL;
    if (action->fallback) isomer_set_text(one, "fallback", "method");
    isomer_set(actions, action->name, one);
  }
  for (const isomer_event *event = isomer_the_service.events; event && event->pattern; event++) {
    isomer_json *one = object_from(event->schema);
    if (!one) return NULL;
    isomer_set(events, event->pattern, one);
  }
  isomer_set(root, "actions", actions);
  isomer_set(root, "events", events);
  isomer_json *isomer = isomer_get(root, "isomer");
  if (!isomer) {
    isomer = isomer_object();
    isomer_set(root, "isomer", isomer);
  }
  isomer_set_text(isomer, "sdk", "c/0.1.0");
  isomer_set(isomer, "lifecycle", lifecycle());
  return root;
}

void exports_isomer_service_handler_describe(isomer_service_string_t *ret) {
  isomer_json *root = schema();
  *ret = isomer_wit(root ? isomer_write(root) : "a schema in the tables of this service is no JSON object");
}

/* ---- Hooks --------------------------------------------------------------------------------------------------- */

/* One alternative of a pattern, in which a star is any text. */
static bool fits(const char *pattern, const char *end, const char *name) {
  for (; pattern < end; pattern++, name++) {
    if (*pattern == '*') {
      do
        if (fits(pattern + 1, end, name)) return true;
      while (*name++);
      return false;
    }
    if (*pattern != *name) return false;
  }
  return *name == 0;
}

static bool matches(const char *pattern, const char *name) {
  for (;;) {
    const char *bar = strchr(pattern, '|');
    if (fits(pattern, bar ? bar : pattern + strlen(pattern), name)) return true;
    if (!bar) return false;
    pattern = bar + 1;
  }
}

/* Moleculer's order: before hooks from the service to the action, the others from the action to the service.
 * An error hook that gives a value ends the matter. */
static isomer_value run_action(isomer_ctx *ctx, const isomer_action *action, isomer_value params) {
  const isomer_hook *hooks = isomer_the_service.hooks, *hook;
  isomer_value value = params;
  for (hook = hooks; hook && hook->pattern && !isomer_failed(value); hook++)
    if (hook->before && matches(hook->pattern, action->name)) value = hook->before(ctx, value);
  if (action->before && !isomer_failed(value)) value = action->before(ctx, value);
  if (!isomer_failed(value)) {
    params = value;
    value = action->run(ctx, params);
  }
  if (action->after && !isomer_failed(value)) value = action->after(ctx, params, value);
  for (hook = hooks; hook && hook->pattern && !isomer_failed(value); hook++)
    if (hook->after && matches(hook->pattern, action->name)) value = hook->after(ctx, params, value);
  if (action->on_error && isomer_failed(value)) value = action->on_error(ctx, params, value.error);
  for (hook = hooks; hook && hook->pattern && isomer_failed(value); hook++)
    if (hook->on_error && matches(hook->pattern, action->name)) value = hook->on_error(ctx, params, value.error);
  return value;
}

/* ---- Handlers ------------------------------------------------------------------------------------------------ */

static isomer_value unknown(const char *what, const char *name) {
  return isomer_server_error(500, "UNKNOWN_HANDLER", "this component has no %s '%s'", what, name);
}

/* Ends a handler: nothing stays open, and the context goes back. */
static bool ended(isomer_ctx *ctx, isomer_value value, isomer_service_types_failure_t *failure) {
  isomer_close_all();
  isomer_service_broker_context_drop_borrow(ctx->handle);
  if (isomer_failed(value)) *failure = isomer_failure_of(value.error);
  return !isomer_failed(value);
}

bool exports_isomer_service_handler_started(exports_isomer_service_handler_borrow_context_t handle,
                                            exports_isomer_service_handler_failure_t *err) {
  isomer_ctx ctx = {handle};
  isomer_handler run = isomer_the_service.started;
  return ended(&ctx, run ? run(&ctx, isomer_absent()) : isomer_absent(), err);
}

bool exports_isomer_service_handler_stopped(exports_isomer_service_handler_borrow_context_t handle,
                                            exports_isomer_service_handler_failure_t *err) {
  isomer_ctx ctx = {handle};
  isomer_handler run = isomer_the_service.stopped;
  return ended(&ctx, run ? run(&ctx, isomer_absent()) : isomer_absent(), err);
}

bool exports_isomer_service_handler_call_action(exports_isomer_service_handler_borrow_context_t handle,
                                                isomer_service_string_t *name,
                                                exports_isomer_service_handler_payload_t *params,
                                                exports_isomer_service_handler_payload_t *ret,
                                                exports_isomer_service_handler_failure_t *err) {
  isomer_ctx ctx = {handle};
  const char *text = isomer_c(*name);
  size_t len = name->len, tail = strlen(FALLBACK);
  bool fallback = len > tail && strcmp(text + len - tail, FALLBACK) == 0;
  const isomer_action *action = find_action(text, fallback ? len - tail : len);
  isomer_value given = isomer_value_of(*params), value;
  if (!action || (fallback && !action->fallback)) value = unknown("action", text);
  else value = fallback ? action->fallback(&ctx, given) : run_action(&ctx, action, given);
  if (!ended(&ctx, value, err)) return false;
  *ret = isomer_payload_of(value);
  return true;
}

bool exports_isomer_service_handler_handle_event(exports_isomer_service_handler_borrow_context_t handle,
                                                 isomer_service_string_t *name,
                                                 exports_isomer_service_handler_payload_t *data,
                                                 exports_isomer_service_handler_failure_t *err) {
  isomer_ctx ctx = {handle};
  const isomer_event *event = find_event(isomer_c(*name));
  isomer_value given = isomer_value_of(*data);
  return ended(&ctx, event ? event->run(&ctx, given) : unknown("event", isomer_c(*name)), err);
}
