//! Limits of what files, clients of the control socket, other programs and the mere passing of time make grow.

use crate::limits::Scope::{Instance, Node, Peer, Service};
use crate::limits::{Limit, constant, option};

const REFUSED: &str = "isomer.component.refused.total";
const UPLOAD: &str =
    "host middleware::spans::upload::tests::as_many_spans_wait_as_the_limits_say_and_no_more";
const TAGS: &str =
    "host middleware::spans::tags::tests::tags_are_flattened_as_in_moleculer_and_bounded";

pub(super) const LIMITS: &[Limit] = &[
    option("compile.fileSize", Service)
        .beyond("the file is refused, unread")
        .counted(REFUSED)
        .shown("runtime_load::a_file_that_is_too_large_is_not_read"),
    option("compile.memory", Service)
        .beyond("the file is refused")
        .counted(REFUSED)
        .shown("crash::compiling_that_needs_too_much_time_or_memory_says_which_and_how_to_mend_it"),
    option("compile.timeout", Service)
        .beyond("the file is refused, and tried again later")
        .counted(REFUSED)
        .shown("crash::compiling_that_needs_too_much_time_or_memory_says_which_and_how_to_mend_it"),
    constant("runtime/inspect.rs", "DEPTH_MAX", Service, "levels of components in a component")
        .beyond("the file is refused")
        .counted(REFUSED)
        .shown("host runtime::inspect::tests::components_within_components_are_bounded"),
    constant("runtime/cache.rs", "ENTRIES_MAX", Node, "compiled components on the disk")
        .beyond("the one unused for longest goes")
        .shown("host runtime::cache::tests::the_oldest_entries_go_when_there_are_too_many"),
    constant("runtime/cache.rs", "CACHE_LEN_MAX", Node, "bytes of them")
        .beyond("the one unused for longest goes")
        .shown("host runtime::cache::tests::the_oldest_entries_go_when_there_are_too_many"),
    constant("reload/history.rs", "VERSIONS_MAX", Service, "versions that one can go back to")
        .beyond("the oldest is forgotten")
        .shown("versions::as_many_versions_are_kept_as_the_limit_says"),
    constant("reload/shelf.rs", "FILES_MAX", Node, "files whose versions are kept on the disk")
        .beyond("those of the file that changed longest ago are forgotten")
        .shown("host reload::shelf::tests::there_is_a_bound_on_files_and_bytes"),
    constant("reload/shelf.rs", "LEN_MAX", Node, "bytes of these versions")
        .beyond("those of the file that changed longest ago are forgotten")
        .shown("host reload::shelf::tests::there_is_a_bound_on_files_and_bytes"),
    constant("reload/shelf.rs", "RECORD_LEN_MAX", Service, "bytes of what is written about them")
        .beyond("the versions are not known")
        .shown("host reload::shelf::tests::what_is_damaged_or_too_large_counts_as_not_there"),
    constant("reload/watch.rs", "QUEUE", Node, "changed files that wait to be looked at")
        .beyond("all files are looked at")
        .shown(
            "host reload::watch::tests::more_events_than_the_queue_holds_mean_look_at_everything",
        ),
    constant(
        "runtime/pool/retire.rs",
        "STOP_TIME_MAX",
        Service,
        "time for `stopped` of an instance",
    )
    .beyond("the instance is dropped")
    .shown("runtime_pool::stopped_has_a_limited_time_and_its_failure_hurts_nobody"),
    option("tracking.shutdownTimeout", Service)
        .beyond("running calls are ended with `REQUEST_REJECTED`")
        .shown_apart(
            "host broker::tests::a_stop_waits_for_running_calls",
            "runtime_pool::calls_that_outlast_the_drain_are_cut_off",
        ),
    option("bulkhead.concurrency", Service).beyond("the call waits in the queue").shown(
        "host middleware::bulkhead::tests::so_many_run_so_many_wait_and_the_next_is_refused",
    ),
    option("bulkhead.maxQueueSize", Service).beyond("`QUEUE_FULL`").shown(
        "host middleware::bulkhead::tests::so_many_run_so_many_wait_and_the_next_is_refused",
    ),
    option("cacher.options.maxBytes", Node)
        .beyond("the oldest entry goes; a value larger than everything is not kept")
        .counted("isomer.cacher.evicted.total")
        .shown("host cacher::memory::tests::bytes_are_bounded_and_the_oldest_go"),
    option("cacher.options.max", Node)
        .beyond("the entry unused for longest goes")
        .counted("isomer.cacher.evicted.total")
        .shown("host cacher::memory::tests::the_lru_is_bounded_in_number_and_the_least_used_go"),
    constant("metrics/family.rs", "SERIES_MAX", Node, "label sets of one metric")
        .beyond("they are counted together")
        .shown("host metrics::family::tests::made_up_labels_are_counted_together_beyond_the_limit"),
    constant("middleware/stats.rs", "ACTIONS_MAX", Node, "actions in `$node.stats`")
        .beyond("they count in the total alone")
        .shown("host middleware::stats::tests::made_up_names_and_codes_are_bounded"),
    constant("middleware/stats.rs", "CODES_MAX", Node, "error codes of one action there")
        .beyond("the code is left out")
        .shown("host middleware::stats::tests::made_up_names_and_codes_are_bounded"),
    constant(
        "middleware/metrics/prometheus.rs",
        "HEAD_MAX",
        Peer,
        "bytes of a question of Prometheus",
    )
    .beyond("the connection is closed")
    .shown("host middleware::metrics::prometheus::tests::questions_are_read_within_bounds"),
    constant(
        "middleware/debugging.rs",
        "NAME_LEN_MAX",
        Node,
        "characters of a name in a file of a logger",
    )
    .beyond("it is cut")
    .shown("host middleware::debugging::tests::names_of_others_lead_nowhere"),
    option("coreDumps.files", Node)
        .beyond("the oldest is deleted")
        .counted("isomer.guest.coreDumps.total")
        .shown("traps::so_many_core_dumps_are_kept_and_none_of_a_guest_that_is_too_large"),
    option("coreDumps.size", Instance)
        .beyond("there is no core dump")
        .counted("isomer.guest.coreDumpsLeftOut.total")
        .shown("traps::so_many_core_dumps_are_kept_and_none_of_a_guest_that_is_too_large"),
    constant("admin/protocol.rs", "CONNECTIONS_MAX", Node, "clients of the control socket at once")
        .beyond("\"too many clients are connected\"")
        .shown("host admin::server::tests::one_client_too_many_is_told_so"),
    constant("admin/protocol.rs", "HEAD_LEN_MAX", Peer, "bytes of the head of a frame there")
        .beyond("the connection is closed with the reason")
        .shown("host admin::protocol::tests::a_frame_is_as_long_as_the_limits_and_no_longer"),
    constant("admin/protocol.rs", "BODY_LEN_MAX", Peer, "bytes of its payload")
        .beyond("the connection is closed with the reason")
        .shown("host admin::protocol::tests::a_frame_is_as_long_as_the_limits_and_no_longer"),
    constant("admin/protocol.rs", "FRAME_TIME_MAX", Peer, "time for a frame there")
        .beyond("the connection is closed")
        .shown("host admin::server::tests::a_client_that_stalls_is_closed"),
    constant("admin/protocol.rs", "IDLE_TIME_MAX", Peer, "time between two frames there")
        .beyond("the connection is closed")
        .shown("host admin::server::tests::a_client_that_stalls_is_closed"),
    constant("config/file.rs", "FILE_SIZE_MAX", Node, "bytes of a configuration file")
        .beyond("the start fails with the reason")
        .shown("host config::file::tests::a_file_may_be_as_large_as_the_limit"),
    constant("scenario/file.rs", "LEN_MAX", Node, "bytes of a file of scenarios")
        .beyond("the test fails with the reason")
        .shown("host scenario::file::tests::a_file_may_be_as_large_as_the_limit"),
    constant("middleware/spans/upload.rs", "SPANS_MAX", Node, "spans that wait for one server")
        .beyond("the span is dropped")
        .counted("isomer.tracing.spans.dropped.total")
        .shown(UPLOAD),
    constant("middleware/spans/upload.rs", "BYTES_MAX", Node, "bytes of them")
        .beyond("the span is dropped")
        .counted("isomer.tracing.spans.dropped.total")
        .shown(UPLOAD),
    constant("middleware/spans/tags.rs", "TAGS_MAX", Node, "tags of a span that are sent")
        .beyond("the rest is left out")
        .shown(TAGS),
    constant("middleware/spans/tags.rs", "TEXT_MAX", Node, "bytes of the text of one of them")
        .beyond("it is cut")
        .shown(TAGS),
    constant(
        "http.rs",
        "HEAD_MAX",
        Node,
        "bytes of the head of an answer of etcd or of a server that spans or metrics go to",
    )
    .beyond("the question has failed")
    .shown("host http::tests::what_is_no_http_or_too_large_is_refused"),
];
