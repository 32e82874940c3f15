/* JSON for services: a reader, a writer, and values that are trees of nodes in the memory of the running handler.
 * A number that was read keeps its text, so that it is written as it came. Depth is bounded by the host, which refuses
 * what is nested deeper than 100 levels, and here as well. */
#include "isomer_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 128

struct isomer_json {
  isomer_type type;
  bool placed; /* belongs to an object or array already */
  bool raw;    /* the text is JSON as it is, of an unknown type */
  bool truth;
  const char *key; /* of a member */
  size_t key_len;
  const char *text; /* a text, the text of a number that was read, raw JSON */
  size_t len;
  double number;
  isomer_json *first, *last, *next;
  size_t count;
};

static isomer_json *node(isomer_type type) {
  isomer_json *json = isomer_alloc(sizeof *json);
  memset(json, 0, sizeof *json);
  json->type = type;
  return json;
}

/* ---- Reading ------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *at, *end;
  int depth;
} reader;

static void skip_space(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) r->at++;
}

static bool take(reader *r, char c) {
  if (r->at < r->end && *r->at == c) {
    r->at++;
    return true;
  }
  return false;
}

static bool word(reader *r, const char *text) {
  size_t len = strlen(text);
  if ((size_t)(r->end - r->at) < len || memcmp(r->at, text, len) != 0) return false;
  r->at += len;
  return true;
}

static int hex4(const char *at, const char *end) {
  if (end - at < 4) return -1;
  int value = 0;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

static char *put_utf8(char *out, uint32_t c) {
  if (c < 0x80) {
    *out++ = (char)c;
  } else if (c < 0x800) {
    *out++ = (char)(0xC0 | c >> 6);
    *out++ = (char)(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    *out++ = (char)(0xE0 | c >> 12);
    *out++ = (char)(0x80 | (c >> 6 & 0x3F));
    *out++ = (char)(0x80 | (c & 0x3F));
  } else {
    *out++ = (char)(0xF0 | c >> 18);
    *out++ = (char)(0x80 | (c >> 12 & 0x3F));
    *out++ = (char)(0x80 | (c >> 6 & 0x3F));
    *out++ = (char)(0x80 | (c & 0x3F));
  }
  return out;
}

/* A text without its first quote; always a copy, because it has to end with a NUL. */
static bool read_text(reader *r, const char **text, size_t *len) {
  const char *scan = r->at;
  while (scan < r->end && *scan != '"') scan += *scan == '\\' ? 2 : 1;
  if (scan >= r->end) return false;
  char *out = isomer_alloc((size_t)(scan - r->at) + 1), *begin = out;
  while (r->at < scan) {
    const char *plain = r->at;
    while (r->at < scan && *r->at != '\\') r->at++;
    memcpy(out, plain, (size_t)(r->at - plain));
    out += r->at - plain;
    if (r->at >= scan) break;
    char c = r->at[1];
    r->at += 2;
    switch (c) {
    case 'n': *out++ = '\n'; break;
    case 't': *out++ = '\t'; break;
    case 'r': *out++ = '\r'; break;
    case 'b': *out++ = '\b'; break;
    case 'f': *out++ = '\f'; break;
    case 'u': {
      int high = hex4(r->at, scan);
      if (high < 0) return false;
      r->at += 4;
      uint32_t value = (uint32_t)high;
      if (high >= 0xD800 && high < 0xDC00 && scan - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
        int low = hex4(r->at + 2, scan);
        if (low >= 0xDC00 && low < 0xE000) {
          value = 0x10000 + (((uint32_t)high - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
          r->at += 6;
        }
      }
      /* Half of a pair has no UTF-8: the replacement character. */
      if (value >= 0xD800 && value < 0xE000) value = 0xFFFD;
      out = put_utf8(out, value);
      break;
    }
    default: *out++ = c; /* a quote, a backslash, a slash */
    }
  }
  r->at = scan + 1;
  *out = 0;
  *text = begin;
  *len = (size_t)(out - begin);
  return true;
}

static isomer_json *read_value(reader *r);

static void append(isomer_json *list, isomer_json *item) {
  item->placed = true;
  if (list->last) list->last->next = item;
  else list->first = item;
  list->last = item;
  list->count++;
}

static isomer_json *read_list(reader *r, bool object) {
  isomer_json *list = node(object ? ISOMER_OBJECT : ISOMER_ARRAY);
  char close = object ? '}' : ']';
  skip_space(r);
  if (take(r, close)) return list;
  for (;;) {
    const char *key = NULL;
    size_t key_len = 0;
    skip_space(r);
    if (object) {
      if (!take(r, '"') || !read_text(r, &key, &key_len)) return NULL;
      skip_space(r);
      if (!take(r, ':')) return NULL;
    }
    isomer_json *item = read_value(r);
    if (!item) return NULL;
    item->key = key;
    item->key_len = key_len;
    append(list, item);
    skip_space(r);
    if (take(r, close)) return list;
    if (!take(r, ',')) return NULL;
  }
}

static isomer_json *read_number(reader *r) {
  const char *begin = r->at;
  bool whole = true;
  while (r->at < r->end && strchr("+-0123456789.eE", *r->at) && *r->at) {
    whole = whole && ((*r->at >= '0' && *r->at <= '9') || *r->at == '-');
    r->at++;
  }
  size_t len = (size_t)(r->at - begin);
  if (len == 0) return NULL;
  isomer_json *json = node(ISOMER_NUMBER);
  json->text = begin;
  json->len = len;
  if (whole && len < 16) {
    int64_t value = 0;
    for (const char *c = begin; c < r->at; c++)
      if (*c != '-') value = value * 10 + (*c - '0');
    json->number = *begin == '-' ? -(double)value : (double)value;
  } else {
    char *copy = isomer_alloc(len + 1);
    memcpy(copy, begin, len);
    copy[len] = 0;
    json->number = strtod(copy, NULL);
  }
  return json;
}

static isomer_json *read_value(reader *r) {
  skip_space(r);
  if (r->at >= r->end || r->depth >= DEPTH_MAX) return NULL;
  isomer_json *json = NULL;
  switch (*r->at) {
  case '{':
  case '[': {
    bool object = *r->at == '{';
    r->at++;
    r->depth++;
    json = read_list(r, object);
    r->depth--;
    return json;
  }
  case '"':
    r->at++;
    json = node(ISOMER_TEXT);
    return read_text(r, &json->text, &json->len) ? json : NULL;
  case 't':
  case 'f':
    json = node(ISOMER_BOOL);
    json->truth = *r->at == 't';
    return word(r, json->truth ? "true" : "false") ? json : NULL;
  case 'n': return word(r, "null") ? node(ISOMER_NULL) : NULL;
  default: return read_number(r);
  }
}

isomer_json *isomer_parse_text(const char *text, size_t len) {
  reader r = {text, text + len, 0};
  isomer_json *json = read_value(&r);
  skip_space(&r);
  return r.at == r.end ? json : NULL;
}

isomer_json *isomer_parse(isomer_value value) {
  if (value.kind == ISOMER_ABSENT) return isomer_object();
  return value.kind == ISOMER_JSON ? isomer_parse_text(value.data, value.len) : NULL;
}

/* ---- Asking -------------------------------------------------------------------------------------------------- */

/* Raw JSON is read when somebody looks inside. */
static const isomer_json *inside(const isomer_json *json) {
  if (!json || !json->raw) return json;
  return isomer_parse_text(json->text, json->len);
}

isomer_type isomer_type_of(const isomer_json *json) {
  json = inside(json);
  return json ? json->type : ISOMER_NULL;
}

bool isomer_is(const isomer_json *json, isomer_type type) { return json && isomer_type_of(json) == type; }

double isomer_number(const isomer_json *json, double otherwise) {
  json = inside(json);
  return json && json->type == ISOMER_NUMBER ? json->number : otherwise;
}

bool isomer_bool(const isomer_json *json, bool otherwise) {
  json = inside(json);
  return json && json->type == ISOMER_BOOL ? json->truth : otherwise;
}

const char *isomer_text(const isomer_json *json, const char *otherwise) {
  json = inside(json);
  return json && json->type == ISOMER_TEXT ? json->text : otherwise;
}

size_t isomer_text_len(const isomer_json *json) {
  json = inside(json);
  return json && json->type == ISOMER_TEXT ? json->len : 0;
}

isomer_json *isomer_first(const isomer_json *list) {
  list = inside(list);
  return list ? list->first : NULL;
}

isomer_json *isomer_next(const isomer_json *item) { return item ? item->next : NULL; }

const char *isomer_key(const isomer_json *item) { return item ? item->key : NULL; }

size_t isomer_count(const isomer_json *list) {
  list = inside(list);
  return list ? list->count : 0;
}

static isomer_json *find(const isomer_json *object, const char *key) {
  size_t len = strlen(key);
  isomer_json *found = NULL;
  /* The last one counts, as in JavaScript. */
  for (isomer_json *item = isomer_first(object); item; item = item->next)
    if (item->key && item->key_len == len && memcmp(item->key, key, len) == 0) found = item;
  return found;
}

isomer_json *isomer_get(const isomer_json *object, const char *key) {
  object = inside(object);
  return object && object->type == ISOMER_OBJECT ? find(object, key) : NULL;
}

isomer_json *isomer_at(const isomer_json *array, size_t index) {
  isomer_json *item = isomer_first(array);
  while (item && index-- > 0) item = item->next;
  return item;
}

/* ---- Building ------------------------------------------------------------------------------------------------ */

isomer_json *isomer_null(void) { return node(ISOMER_NULL); }
isomer_json *isomer_object(void) { return node(ISOMER_OBJECT); }
isomer_json *isomer_array(void) { return node(ISOMER_ARRAY); }

isomer_json *isomer_truth(bool truth) {
  isomer_json *json = node(ISOMER_BOOL);
  json->truth = truth;
  return json;
}

isomer_json *isomer_num(double number) {
  isomer_json *json = node(ISOMER_NUMBER);
  json->number = number;
  return json;
}

isomer_json *isomer_str_n(const char *text, size_t len) {
  isomer_json *json = node(ISOMER_TEXT);
  char *copy = isomer_alloc(len + 1);
  memcpy(copy, text, len);
  copy[len] = 0;
  json->text = copy;
  json->len = len;
  return json;
}

isomer_json *isomer_str(const char *text) { return text ? isomer_str_n(text, strlen(text)) : isomer_null(); }

isomer_json *isomer_raw(const char *json_text) {
  if (!json_text) return isomer_null();
  isomer_json *json = isomer_str_n(json_text, strlen(json_text));
  json->raw = true;
  return json;
}

isomer_json *isomer_json_of(isomer_value value) {
  if (value.kind == ISOMER_JSON) {
    isomer_json *json = node(ISOMER_TEXT);
    json->raw = true;
    json->text = value.data;
    json->len = value.len;
    return json;
  }
  if (value.kind != ISOMER_BYTES) return isomer_null();
  isomer_json *bytes = isomer_array();
  for (size_t i = 0; i < value.len; i++) isomer_add(bytes, isomer_num((unsigned char)value.data[i]));
  return isomer_set(isomer_set_text(isomer_object(), "type", "Buffer"), "data", bytes);
}

/* A node that has no place yet. What it holds is shared: nodes are not changed once they have a place. */
static isomer_json *placeable(const isomer_json *value) {
  if (!value) return isomer_null();
  if (!value->placed) return (isomer_json *)value;
  isomer_json *copy = isomer_alloc(sizeof *copy);
  *copy = *value;
  copy->next = NULL;
  copy->key = NULL;
  copy->placed = false;
  return copy;
}

isomer_json *isomer_add(isomer_json *array, const isomer_json *value) {
  if (array && array->type == ISOMER_ARRAY) append(array, placeable(value));
  return array;
}

isomer_json *isomer_set(isomer_json *object, const char *key, const isomer_json *value) {
  if (!object || object->type != ISOMER_OBJECT) return object;
  isomer_json *item = placeable(value), *old = find(object, key);
  if (old) {
    isomer_json *next = old->next;
    const char *old_key = old->key;
    size_t len = old->key_len;
    *old = *item;
    old->next = next;
    old->key = old_key;
    old->key_len = len;
    old->placed = true;
    return object;
  }
  item->key_len = strlen(key);
  char *copy = isomer_alloc(item->key_len + 1);
  memcpy(copy, key, item->key_len + 1);
  item->key = copy;
  append(object, item);
  return object;
}

isomer_json *isomer_set_text(isomer_json *object, const char *key, const char *text) {
  return isomer_set(object, key, isomer_str(text));
}

isomer_json *isomer_set_number(isomer_json *object, const char *key, double number) {
  return isomer_set(object, key, isomer_num(number));
}

isomer_json *isomer_set_bool(isomer_json *object, const char *key, bool truth) {
  return isomer_set(object, key, isomer_truth(truth));
}

/* ---- Writing ------------------------------------------------------------------------------------------------- */

typedef struct {
  char *begin;
  size_t len, room;
} writer;

static char *space(writer *w, size_t len) {
  if (w->room - w->len < len) {
    size_t room = (w->room + len) * 2;
    char *more = isomer_alloc(room);
    memcpy(more, w->begin, w->len);
    w->begin = more;
    w->room = room;
  }
  char *at = w->begin + w->len;
  w->len += len;
  return at;
}

static void put(writer *w, const char *text, size_t len) { memcpy(space(w, len), text, len); }

static void put_text(writer *w, const char *text, size_t len) {
  put(w, "\"", 1);
  const char *end = text + len;
  while (text < end) {
    const char *plain = text;
    while (text < end && (unsigned char)*text >= 0x20 && *text != '"' && *text != '\\') text++;
    put(w, plain, (size_t)(text - plain));
    if (text >= end) break;
    char c = *text++;
    switch (c) {
    case '"': put(w, "\\\"", 2); break;
    case '\\': put(w, "\\\\", 2); break;
    case '\n': put(w, "\\n", 2); break;
    case '\r': put(w, "\\r", 2); break;
    case '\t': put(w, "\\t", 2); break;
    default: {
      static const char digits[] = "0123456789abcdef";
      char escape[6] = {'\\', 'u', '0', '0', digits[c >> 4 & 15], digits[c & 15]};
      put(w, escape, 6);
    }
    }
  }
  put(w, "\"", 1);
}

static void put_number(writer *w, double number) {
  char text[32];
  if (!isfinite(number)) {
    put(w, "null", 4); /* as JSON.stringify */
    return;
  }
  if (number == floor(number) && fabs(number) < 1e15) {
    /* Whole numbers are the most, and printf is large and slow. */
    char *at = text + sizeof text;
    uint64_t rest = (uint64_t)fabs(number);
    do *--at = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (number < 0) *--at = '-';
    put(w, at, (size_t)(text + sizeof text - at));
    return;
  }
  int len = 0;
  for (int digits = 15; digits <= 17; digits++) {
    len = snprintf(text, sizeof text, "%.*g", digits, number);
    if (strtod(text, NULL) == number) break;
  }
  put(w, text, (size_t)len);
}

static void put_value(writer *w, const isomer_json *json) {
  if (json->raw) {
    put(w, json->text, json->len);
    return;
  }
  switch (json->type) {
  case ISOMER_NULL: put(w, "null", 4); return;
  case ISOMER_BOOL: put(w, json->truth ? "true" : "false", json->truth ? 4 : 5); return;
  case ISOMER_TEXT: put_text(w, json->text, json->len); return;
  case ISOMER_NUMBER:
    if (json->text) put(w, json->text, json->len);
    else put_number(w, json->number);
    return;
  case ISOMER_ARRAY:
  case ISOMER_OBJECT: break;
  }
  bool object = json->type == ISOMER_OBJECT;
  put(w, object ? "{" : "[", 1);
  for (const isomer_json *item = json->first; item; item = item->next) {
    if (item != json->first) put(w, ",", 1);
    if (object) {
      put_text(w, item->key, item->key_len);
      put(w, ":", 1);
    }
    put_value(w, item);
  }
  put(w, object ? "}" : "]", 1);
}

isomer_value isomer_from(const isomer_json *json) {
  writer w = {isomer_alloc(256), 0, 256};
  if (json) put_value(&w, json);
  else put(&w, "null", 4);
  *space(&w, 1) = 0;
  return (isomer_value){.kind = ISOMER_JSON, .data = w.begin, .len = w.len - 1};
}

const char *isomer_write(const isomer_json *json) { return isomer_from(json).data; }
