/* Memory of the running handler: taken from blocks one after the other, given back all at once.
 *
 * What the host writes into the guest (params, results of calls) comes from here as well, so that a service cannot leak
 * it: `cabi_realloc` below takes the place of the generated one, which uses malloc and leaves it to the callee to free
 * everything. Memory of a call is given back when the host has read its result (`cabi_post_...`). */
#include "isomer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LEN 8192
#define BLOCK_LEN 65536
#define ALIGN 8

typedef struct block {
  struct block *before;
  size_t used, len;
  _Alignas(ALIGN) char bytes[];
} block;

/* The first block is always there and enough for most calls. */
static _Alignas(ALIGN) char first_bytes[sizeof(block) + FIRST_LEN];
static block *current;

static block *first(void) {
  block *b = (block *)first_bytes;
  b->len = FIRST_LEN;
  return b;
}

void *isomer_alloc(size_t len) {
  if (!current) current = first();
  len = (len + ALIGN - 1) & ~(size_t)(ALIGN - 1);
  if (current->len - current->used < len) {
    size_t block_len = len > BLOCK_LEN / 2 ? len : BLOCK_LEN;
    block *more = malloc(sizeof(block) + block_len);
    if (!more) abort();
    more->before = current;
    more->used = 0;
    more->len = block_len;
    current = more;
  }
  void *at = current->bytes + current->used;
  current->used += len;
  return at;
}

isomer_mark isomer_mark_here(void) {
  if (!current) current = first();
  return (isomer_mark){current, current->used};
}

void isomer_rewind(isomer_mark mark) {
  while (current != mark.chunk) {
    block *before = current->before;
    free(current);
    current = before;
  }
  current->used = mark.used;
}

static void give_back(void) { isomer_rewind((isomer_mark){first(), 0}); }

char *isomer_format_list(const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int len = vsnprintf(NULL, 0, format, arguments);
  char *text = isomer_alloc(len < 0 ? 1 : (size_t)len + 1);
  text[0] = 0;
  if (len > 0) vsnprintf(text, (size_t)len + 1, format, again);
  va_end(again);
  return text;
}

const char *isomer_format(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *text = isomer_format_list(format, arguments);
  va_end(arguments);
  return text;
}

char *isomer_keep(const char *text) {
  size_t len = strlen(text) + 1;
  char *copy = malloc(len);
  if (!copy) abort();
  return memcpy(copy, text, len);
}

/* ---- What the host calls; these stand for the generated ones, which are weak -------------------------------------- */

#define EXPORT(name) __attribute__((__export_name__(name)))

EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_len, size_t align, size_t len) {
  if (len == 0) return (void *)align;
  char *place = isomer_alloc(len + 1);
  if (old) memcpy(place, old, old_len < len ? old_len : len);
  /* Texts come without an end, and C wants one. */
  place[len] = 0;
  return place;
}

/* The adapter between the old WASI and the new takes a page for itself, once, and keeps it. */
EXPORT("cabi_realloc_adapter") void *isomer_adapter_realloc(void *old, size_t old_len, size_t align, size_t len) {
  (void)old_len;
  void *page = old ? realloc(old, len) : aligned_alloc(align, (len + align - 1) / align * align);
  if (!page) abort();
  return page;
}

#define AFTER(function) EXPORT("cabi_post_isomer:service/handler@0.1.0#" function)

AFTER("describe") void __wasm_export_exports_isomer_service_handler_describe_post_return(uint8_t *r) {
  (void)r;
  give_back();
}
AFTER("started") void __wasm_export_exports_isomer_service_handler_started_post_return(uint8_t *r) {
  (void)r;
  give_back();
}
AFTER("stopped") void __wasm_export_exports_isomer_service_handler_stopped_post_return(uint8_t *r) {
  (void)r;
  give_back();
}
AFTER("call-action") void __wasm_export_exports_isomer_service_handler_call_action_post_return(uint8_t *r) {
  (void)r;
  give_back();
}
AFTER("handle-event") void __wasm_export_exports_isomer_service_handler_handle_event_post_return(uint8_t *r) {
  (void)r;
  give_back();
}

/* The generated code asks for an object file with the type of the component; `isomer build` adds the type itself. */
void __component_type_object_force_link_isomer_service(void) {}
