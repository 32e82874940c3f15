//! Limits of what a guest does, or makes the host do. Not here: files and caches (`node`).

use crate::limits::Scope::{Action, Handler, Instance, Node, Service};
use crate::limits::{Limit, constant, option};

const FUEL: &str = "isomer.guest.fuelExhausted.total";
const TIME: &str = "isomer.guest.timedOut.total";
const MEMORY: &str = "isomer.guest.memoryLimit.total";
const PAYLOAD: &str = "isomer.guest.payloadTooLarge.total";
const TRAPPED: &str = "isomer.guest.trapped.total";
const QUEUE: &str = "isomer.guest.queueFull.total";
const SPANS: &str = "isomer.guest.spansRefused.total";
const LOG: &str = "isomer.guest.logDropped.total";
const STREAM: &str = "isomer.guest.streamIdle.total";
const HTTP: &str = "isomer.guest.httpRefused.total";
const REFUSED: &str = "isomer.component.refused.total";

pub(super) const LIMITS: &[Limit] = &[
    option("limits.fuel", Action).beyond("`FUEL_EXHAUSTED`").counted(FUEL).shown_apart(
        "runtime_limits::fuel_is_the_same_for_the_same_call_and_counted",
        "runtime_limits::fuel",
    ),
    option("limits.timeout", Action)
        .beyond("`REQUEST_TIMEOUT`, data `{limit: \"service\"}`")
        .counted(TIME)
        .shown("runtime_limits::time_while_waiting"),
    option("requestTimeout", Action)
        .beyond("`REQUEST_TIMEOUT`; a call that is made by a guest has what its caller has left")
        .counted(TIME)
        .shown_apart(
            "host middleware::timeout::tests::a_call_ends_at_its_limit_and_not_before",
            "runtime_limits::the_time_of_the_caller",
        ),
    option("limits.memory", Action).beyond("`MEMORY_LIMIT`").counted(MEMORY).shown_apart(
        "host runtime::limiter::tests::memories_are_summed_up_to_the_limit",
        "runtime_limits::memory",
    ),
    option("memory.max", Node)
        .beyond("`NODE_MEMORY`")
        .counted("isomer.guest.nodeMemory.total")
        .shown_apart(
            "host memory::room::tests::growth_goes_to_the_limit_and_no_further",
            "crash::a_guest_that_takes_all_memory_of_the_node_is_stopped_and_the_node_recovers",
        ),
    option("limits.payload", Action)
        .beyond("`PAYLOAD_TOO_LARGE`")
        .counted(PAYLOAD)
        .shown_apart("runtime_limits::payload_in", "runtime_limits::payload_out"),
    option("limits.meta", Handler)
        .beyond("`PAYLOAD_TOO_LARGE`")
        .counted(PAYLOAD)
        .shown("runtime_limits::meta"),
    constant("payload.rs", "DEPTH_MAX", Action, "levels of a payload, of meta and of error data")
        .beyond("`INVALID_PAYLOAD`")
        .shown_apart(
            "host payload::tests::nesting_is_bounded",
            "hostile::each_way_to_misbehave_costs_its_caller_an_error_and_nobody_else_anything",
        ),
    option("limits.stack", Instance)
        .beyond("`SERVICE_TRAPPED`")
        .counted(TRAPPED)
        .shown("runtime_limits::native_stack"),
    option("limits.tableElements", Instance).beyond("`MEMORY_LIMIT`").counted(MEMORY).shown_apart(
        "host runtime::limiter::tests::tables_are_summed_up_to_the_limit",
        "runtime_limits::tables",
    ),
    option("limits.objects", Instance)
        .beyond("the component is refused")
        .counted(REFUSED)
        .shown("hostile::a_component_has_as_many_memories_and_tables_as_the_limit_says"),
    option("limits.handles", Instance)
        .beyond("`SERVICE_TRAPPED`")
        .counted(TRAPPED)
        .shown("runtime_limits::handles"),
    option("limits.callsInFlight", Handler)
        .beyond("`QUEUE_FULL`")
        .counted(QUEUE)
        .shown("runtime_limits::calls_in_flight"),
    option("limits.events", Handler)
        .beyond("`QUEUE_FULL`, not retryable")
        .counted(QUEUE)
        .shown("runtime_limits::events"),
    option("maxCallLevel", Action)
        .beyond("`MAX_CALL_LEVEL`")
        .shown("host broker::tests::the_length_of_a_chain_is_limited"),
    option("limits.instances.max", Service)
        .beyond("the call waits in the queue")
        .shown("runtime_limits::instances_and_queue"),
    option("limits.instances.concurrency", Service)
        .beyond("the call waits in the queue")
        .shown("shared_mode::no_more_calls_run_at_once_than_are_allowed"),
    option("limits.queue", Service).beyond("`QUEUE_FULL`").counted(QUEUE).shown_apart(
        "host runtime::admission::tests::as_many_wait_as_the_queue_is_long_and_no_more",
        "runtime_limits::instances_and_queue",
    ),
    option("limits.instances.reuse", Instance)
        .beyond("the instance is retired")
        .shown("runtime_pool::an_instance_is_retired_after_so_many_calls"),
    option("limits.streams", Handler)
        .beyond("`TOO_MANY_STREAMS`")
        .shown("guest_streams::there_are_as_many_streams_and_handles_as_the_limits_say"),
    option("limits.streamBuffer", Handler).beyond("the guest waits for its reader").shown_apart(
        "guest_streams::a_chunk_larger_than_the_buffer_is_written_in_pieces",
        "guest_streams::a_fast_guest_waits_for_a_slow_reader_and_notices_when_it_goes",
    ),
    option("limits.streamIdle", Handler).beyond("`STREAM_IDLE`").counted(STREAM).shown(
        "guest_streams::a_silent_source_and_a_reader_that_never_reads_end_after_the_idle_time",
    ),
    option("limits.streamTimeout", Handler).beyond("`REQUEST_TIMEOUT`").counted(TIME).shown_apart(
        "guest_streams::an_upload_has_the_time_of_a_stream",
        "guest_streams::the_callers_deadline_ends_with_its_answer_and_another_limit_begins",
    ),
    option("limits.httpRequests", Instance)
        .beyond("`connection-limit-reached` of `wasi:http`")
        .counted(HTTP)
        .shown("grants_http::an_instance_has_so_many_requests_under_way"),
    option("limits.httpBody", Instance)
        .beyond("`HTTP-request-body-size` or `HTTP-response-body-size` of `wasi:http`")
        .counted(HTTP)
        .shown("grants_http::bodies_are_as_large_as_the_limit_each_way_and_no_larger"),
    constant("runtime/reach/http.rs", "HEAD_LEN_MAX", Instance, "bytes of the head of an HTTP request or answer")
        .beyond("`HTTP-request-header-section-size` or `HTTP-response-header-section-size` of `wasi:http`")
        .counted(HTTP)
        .shown("grants_http::heads_are_as_large_as_the_limit_and_no_larger"),
    constant("runtime/reach/http.rs", "FIELDS_LEN_MAX", Instance, "bytes of header fields that a guest collects")
        .beyond("`SERVICE_TRAPPED`")
        .counted(TRAPPED)
        .shown("grants_http::heads_are_as_large_as_the_limit_and_no_larger"),
    constant("runtime/reach/http.rs", "HEADERS_MAX", Instance, "lines in the head of an HTTP answer")
        .beyond("`HTTP-response-header-section-size` of `wasi:http`")
        .counted(HTTP)
        .shown("grants_http::heads_are_as_large_as_the_limit_and_no_larger"),
    option("limits.logRate", Service).beyond("the line is dropped").counted(LOG).shown(
        "host runtime::log_sink::tests::lines_above_the_rate_are_dropped_and_counted_until_the_next_second",
    ),
    option("limits.logLine", Service)
        .beyond("the line is cut")
        .shown("host runtime::log_sink::tests::a_line_is_cut_at_a_whole_character"),
    option("limits.spans", Handler)
        .beyond("the span records nothing")
        .counted(SPANS)
        .shown("guest_spans::what_a_guest_records_beyond_its_limits_is_left_out_and_counted"),
    option("limits.openSpans", Handler).beyond("the span records nothing").counted(SPANS).shown(
        "host runtime::spans::tests::a_handler_has_so_many_spans_and_so_many_open_and_all_end_with_it",
    ),
    option("limits.spanBytes", Handler)
        .beyond("the tag or log is left out")
        .counted(SPANS)
        .shown("guest_spans::what_a_guest_records_beyond_its_limits_is_left_out_and_counted"),
    constant("tracer/span.rs", "LOGS_MAX", Handler, "logs of one span")
        .beyond("the log is left out")
        .counted(SPANS)
        .shown("host tracer::tests::what_a_guest_adds_is_bounded"),
    constant("runtime/host_imports/spans.rs", "NAME_MAX", Handler, "bytes of the name of a span")
        .beyond("it is cut")
        .shown("host runtime::host_imports::spans::tests::long_names_and_errors_are_cut"),
    constant("runtime/reach/denials.rs", "TOLD_MAX", Service, "different uses of one grant that the log tells")
        .beyond("it is counted only")
        .counted("isomer.guest.permissionDenied.total")
        .shown("host runtime::reach::denials::tests::each_thing_is_told_once_and_not_without_end_but_all_are_counted"),
    constant("runtime/reach/sockets.rs", "ADDRESSES_MAX", Instance, "addresses that it has looked up")
        .beyond("all are forgotten, and names have to be looked up again")
        .shown("host runtime::reach::sockets::tests::nobody_listens_and_what_is_remembered_is_bounded"),
    option("limits.schema", Service)
        .beyond("the component is refused")
        .counted(REFUSED)
        .shown("runtime_load::a_schema_may_be_as_long_as_the_limit"),
    option("limits.schemaItems", Service)
        .beyond("the component is refused")
        .counted(REFUSED)
        .shown("host schema::tests::the_number_of_actions_is_bounded"),
    constant("schema/read.rs", "NAME_LEN_MAX", Service, "bytes of the name of a service or action")
        .beyond("the component is refused")
        .counted(REFUSED)
        .shown("host schema::tests::names_are_bounded"),
    constant("validator/compile.rs", "DEPTH_MAX", Service, "levels of rules for params")
        .beyond("the component is refused")
        .counted(REFUSED)
        .shown("host validator::tests::rules_are_bounded_in_depth_and_number"),
    constant("validator/compile.rs", "RULES_MAX", Service, "rules for the params of an action")
        .beyond("the component is refused")
        .counted(REFUSED)
        .shown("host validator::tests::rules_are_bounded_in_depth_and_number"),
    constant("validator/pattern.rs", "PATTERN_LEN_MAX", Service, "bytes of a pattern in a rule")
        .beyond("the component is refused")
        .counted(REFUSED)
        .shown("host validator::pattern::tests::wrong_patterns_are_refused"),
    constant("validator/pattern.rs", "BACKTRACK_MAX", Action, "steps back while a pattern is tried")
        .beyond("the text does not match")
        .shown(
            "host validator::pattern::tests::a_text_that_makes_a_pattern_go_back_too_often_does_not_match",
        ),
    constant("validator/item.rs", "ITEMS_MAX", Action, "failures of params that are listed")
        .beyond("the rest is left out")
        .shown("host validator::tests::the_items_of_a_refusal_are_bounded"),
    constant("validator/item.rs", "VALUES_LEN_MAX", Action, "bytes of values that those repeat")
        .beyond("the value is left out")
        .shown("host validator::tests::the_values_that_a_refusal_repeats_are_bounded"),
    constant("validator/item.rs", "GROWTH_MAX", Action, "bytes that defaults and paddings add")
        .beyond("`PAYLOAD_TOO_LARGE`")
        .shown("host validator::tests::what_defaults_and_paddings_add_is_bounded"),
    constant("reload/versions.rs", "TRAPS_MAX", Service, "traps within a minute")
        .beyond("the version before comes back")
        .counted("isomer.version.rolledBack.total")
        .shown("versions::a_version_that_keeps_trapping_is_taken_out_and_tried_again_later"),
];
