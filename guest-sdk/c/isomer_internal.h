/* What the files of the library share and services do not see. */
#ifndef ISOMER_INTERNAL_H
#define ISOMER_INTERNAL_H

#include "generated/isomer_service.h"
#include "isomer.h"

#include <stdarg.h>

/* Texts of the boundary, which are not changed by the host though the generated header has no const. */
static inline isomer_service_string_t isomer_wit_text(const char *text, size_t len) {
  return (isomer_service_string_t){.ptr = (uint8_t *)text, .len = len};
}
isomer_service_string_t isomer_wit(const char *text);
/* A text that the host wrote, which has a NUL at its end (see cabi_realloc). */
const char *isomer_c(isomer_service_string_t text);

isomer_service_types_payload_t isomer_payload_of(isomer_value value);
isomer_value isomer_value_of(isomer_service_types_payload_t payload);
isomer_service_types_failure_t isomer_failure_of(const isomer_error *error);
isomer_value isomer_failed_with(isomer_service_types_failure_t failure);
const isomer_error *isomer_error_of(isomer_service_types_failure_t failure);

/* As vprintf, into the memory of the handler. */
char *isomer_format_list(const char *format, va_list arguments);

/* The running handler. */
struct isomer_ctx {
  isomer_service_broker_borrow_context_t handle;
};

/* Closes calls and streams that a handler left open. */
void isomer_close_all(void);

#endif
