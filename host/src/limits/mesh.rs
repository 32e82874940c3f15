//! Limits of what other nodes, and whoever can reach the transporter, make this node keep.

use crate::limits::Scope::{Node, Peer};
use crate::limits::{Limit, constant, option};

const SIZE: &str = "isomer.transit.packets.refused.size";
const OVERLOAD: &str = "isomer.transit.packets.refused.overload";
const MALFORMED: &str = "isomer.transit.packets.refused.malformed";
const SEQUENCE: &str = "isomer.transit.packets.refused.sequence";
const STREAMS: &str = "isomer.transit.streams.failed.total";
const TCP: &str = "isomer.tcp.connections.refused.total";

pub(super) const LIMITS: &[Limit] = &[
    option("transit.maxQueueSize", Node).beyond("`QUEUE_FULL`").shown_apart(
        "host transit::pending::tests::no_more_wait_than_are_allowed",
        "host transit::tests::the_number_of_waiting_requests_is_bounded",
    ),
    option("transit.maxPacketSize", Node)
        .beyond("`PAYLOAD_TOO_LARGE`, or the packet is dropped")
        .counted(SIZE)
        .shown("host transit::tests::packets_that_are_too_large_give_an_error_on_either_way"),
    constant("serializer/tokens.rs", "PACKET_DEPTH_MAX", Peer, "levels of a packet")
        .beyond("the packet is dropped")
        .counted(MALFORMED)
        .shown("host serializer::json::tests::nesting_is_bounded_on_both_sides"),
    constant("transit.rs", "INBOUND_REQUESTS_MAX", Node, "requests of other nodes that run")
        .beyond("`QUEUE_FULL`")
        .counted(OVERLOAD)
        .shown("host transit::tests::requests_from_outside_are_bounded"),
    constant("transit.rs", "INBOUND_EVENTS_MAX", Node, "events of other nodes that are handled")
        .beyond("the event is dropped")
        .counted(OVERLOAD)
        .shown("host transit::tests::events_from_outside_are_bounded"),
    constant("transit.rs", "PINGS_MAX", Node, "own pings that wait for an answer")
        .beyond("`PING_QUEUE_FULL`")
        .shown("host transit::tests::pings_are_bounded_on_either_side"),
    constant("transit.rs", "PONGS_MAX", Node, "pings of others that wait for their answer")
        .beyond("the ping is dropped")
        .counted(OVERLOAD)
        .shown("host transit::tests::pings_are_bounded_on_either_side"),
    constant("transit/gate.rs", "SEEN_MAX", Node, "names of strangers that a log line is held back for")
        .beyond("all are forgotten")
        .shown("host transit::gate::tests::names_are_remembered_and_bounded"),
    constant("transit/versions.rs", "PEERS_MAX", Node, "nodes whose protocol version is known")
        .beyond("the node is not remembered")
        .shown("host transit::versions::tests::invented_names_do_not_fill_the_memory"),
    constant("registry.rs", "NODES_MAX", Node, "nodes of the mesh")
        .beyond("the node is not believed")
        .counted(OVERLOAD)
        .shown("host registry::tests::a_mesh_that_grows_without_end_is_not_believed"),
    constant("registry.rs", "REMOTE_SERVICES_MAX", Peer, "services of one node")
        .beyond("the rest is not believed")
        .counted(OVERLOAD)
        .shown("host registry::tests::a_node_that_offers_without_end_is_believed_up_to_a_point"),
    constant("registry.rs", "REMOTE_ITEMS_MAX", Peer, "actions, and events, of one service of it")
        .beyond("the rest is not believed")
        .counted(OVERLOAD)
        .shown("host registry::tests::a_node_that_offers_without_end_is_believed_up_to_a_point"),
    constant("registry/action_catalog.rs", "EMPTY_MAX", Node, "names of actions that nobody offers any more")
        .beyond("the oldest is forgotten: a call of it is answered with \"not found\"")
        .shown("host registry::tests::large::names_that_nobody_offers_any_more_are_forgotten_when_there_are_too_many"),
    constant("registry/gossip/contact.rs", "STRANGERS_MAX", Node, "nodes that only datagrams told of")
        .beyond("the node is not remembered")
        .shown("host registry::gossip::tests::strangers_are_bounded_and_forgotten_but_not_those_of_the_operator"),
    constant("discoverer/gossip.rs", "ASKS_MAX", Node, "nodes asked out of turn between two rounds")
        .beyond("the next round asks")
        .shown("tcp::nodes_of_a_list_find_each_other_and_answer"),
    option("transit.streams.max", Node).beyond("`QUEUE_FULL`").counted(OVERLOAD).shown_apart(
        "host transit::stream::inflow::tests::no_more_streams_than_are_allowed",
        "host transit::stream::tests::streams_are_bounded_in_number",
    ),
    option("transit.streams.buffer", Node).beyond("the stream fails").counted(STREAMS).shown(
        "host transit::stream::inflow::tests::what_comes_faster_than_it_is_read_fails_its_own_stream",
    ),
    option("transit.streams.totalBuffer", Node).beyond("the stream fails").counted(STREAMS).shown_apart(
        "host payload::stream::tests::streams_with_one_budget_share_it_and_give_back_what_is_read_or_dropped",
        "host transit::stream::inflow::tests::streams_are_bounded_whatever_comes",
    ),
    option("transit.streams.idleTimeout", Node)
        .beyond("the stream fails")
        .counted(STREAMS)
        .shown("host transit::stream::tests::a_still_source_and_a_lost_chunk_fail_the_stream"),
    option("transit.streams.gapTimeout", Node).beyond("the stream fails").counted(STREAMS).shown(
        "host transit::stream::inflow::tests::a_missing_chunk_and_a_still_source_fail_the_stream_in_the_end",
    ),
    option("transit.maxChunkSize", Node)
        .beyond("the chunk is split")
        .shown("host transit::stream::chunk::tests::bytes_are_split_at_the_limit"),
    constant("transit/stream/order.rs", "WINDOW", Peer, "chunks ahead of the one that is missing")
        .beyond("the chunk is dropped")
        .counted(SEQUENCE)
        .shown("host transit::stream::order::tests::what_is_too_far_ahead_is_refused"),
    constant("transporter/writer.rs", "BUFFER_MAX", Node, "bytes that wait for NATS or Redis")
        .beyond("sending waits")
        .shown_apart(
            "host transporter::redis::tests::a_server_that_does_not_read_makes_publishers_wait_and_loses_nothing",
            "host transporter::nats::tests::a_server_that_does_not_read_makes_publishers_wait_and_loses_nothing",
        ),
    constant("transporter/link/outbox.rs", "BUFFER_MAX", Node, "bytes that wait for MQTT or AMQP")
        .beyond("sending waits")
        .shown("host transporter::link::outbox::tests::a_connection_that_is_not_read_makes_senders_wait_and_loses_nothing"),
    constant("transporter/link/outbox.rs", "ANSWERS_MAX", Node, "the same with answers to the server")
        .beyond("the connection is given up")
        .shown("host transporter::link::outbox::tests::a_connection_that_is_not_read_makes_senders_wait_and_loses_nothing"),
    constant("transporter/kafka/queue.rs", "SIZE_MAX", Node, "bytes that wait for Kafka")
        .beyond("sending waits")
        .shown("host transporter::kafka::queue::tests::a_cluster_that_does_not_read_makes_senders_wait_and_a_loss_ends_that"),
    constant("transporter/nats/protocol.rs", "LINE_MAX", Node, "bytes of a line of NATS")
        .beyond("the connection is given up")
        .shown("host transporter::nats::protocol::tests::lines_and_messages_are_bounded"),
    constant("transporter/nats/protocol.rs", "PAYLOAD_MAX", Node, "bytes of a message of NATS")
        .beyond("the connection is given up")
        .shown("host transporter::nats::protocol::tests::lines_and_messages_are_bounded"),
    constant("transporter/nats/connection.rs", "DISCOVERED_MAX", Node, "servers that a cluster names")
        .beyond("the rest is not tried")
        .shown("host transporter::nats::connection::tests::servers_that_a_cluster_names_are_tried_after_the_configured_ones"),
    constant("transporter/redis/protocol.rs", "LINE_MAX", Node, "bytes of a line of Redis")
        .beyond("the connection is given up")
        .shown("host transporter::redis::protocol::tests::lines_and_messages_are_bounded"),
    constant("transporter/mqtt/protocol.rs", "PACKET_MAX", Node, "bytes of a packet of MQTT")
        .beyond("the connection is given up")
        .shown("host transporter::mqtt::protocol::tests::a_size_is_checked_before_its_bytes_come"),
    constant("transporter/amqp/session.rs", "FRAME_MAX", Node, "bytes of a frame of AMQP")
        .beyond("the connection is given up")
        .shown("host transporter::amqp::protocol::tests::a_size_is_checked_before_its_bytes_come"),
    constant("transporter/amqp/session.rs", "MESSAGE_MAX", Node, "bytes of a message of AMQP")
        .beyond("the message is dropped and acknowledged")
        .shown("host transporter::amqp::tests::a_message_that_is_too_large_is_dropped_and_acknowledged_before_it_comes"),
    constant("transporter/tcp/inbound.rs", "NEW_MAX", Node, "TCP connections that have said nothing yet")
        .beyond("the oldest is closed")
        .counted(TCP)
        .shown("host transporter::tcp::tests::a_flood_of_connections_pushes_out_only_those_that_have_said_nothing"),
    constant("transporter/tcp/outbox.rs", "STALL_MAX", Peer, "time that a node may read nothing over TCP")
        .beyond("the node is lost")
        .counted("isomer.tcp.connections.stalled.total")
        .shown("host transporter::tcp::tests::a_node_that_does_not_read_is_lost"),
];
