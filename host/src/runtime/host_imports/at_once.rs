//! What `broker` and `streams` have in common with `broker-async` and `streams-async`: all that is answered at
//! once.
//!
//! Each world has traits of its own for the same resources, with the same functions. They are written once
//! here, as macros whose names are those of the place where they stand.

/// The fields of a context, and the calls and streams that are begun through it; takes the event type of the
/// interface.
macro_rules! at_once_of_a_context {
    ($event_type:ident) => {
        fn id(&mut self, ctx: Ctx) -> wasmtime::Result<String> {
            Ok(String::from(&*self.running(ctx.rep())?.ctx.id))
        }

        fn request_id(&mut self, ctx: Ctx) -> wasmtime::Result<String> {
            Ok(String::from(&*self.running(ctx.rep())?.ctx.request_id))
        }

        fn parent_id(&mut self, ctx: Ctx) -> wasmtime::Result<Option<String>> {
            Ok(self.running(ctx.rep())?.ctx.parent_id.as_deref().map(str::to_owned))
        }

        fn caller(&mut self, ctx: Ctx) -> wasmtime::Result<Option<String>> {
            Ok(self.running(ctx.rep())?.ctx.caller.as_deref().map(str::to_owned))
        }

        fn level(&mut self, ctx: Ctx) -> wasmtime::Result<u32> {
            Ok(self.running(ctx.rep())?.ctx.level)
        }

        fn node_id(&mut self, ctx: Ctx) -> wasmtime::Result<String> {
            Ok(String::from(&*self.running(ctx.rep())?.ctx.node_id))
        }

        fn name(&mut self, ctx: Ctx) -> wasmtime::Result<String> {
            Ok(String::from(&*self.running(ctx.rep())?.ctx.name))
        }

        fn event_type(&mut self, ctx: Ctx) -> wasmtime::Result<Option<$event_type>> {
            Ok(self.running(ctx.rep())?.ctx.event.as_ref().map(|event| match event.kind {
                EventType::Emit => $event_type::Emit,
                EventType::Broadcast => $event_type::Broadcast,
                EventType::BroadcastLocal => $event_type::BroadcastLocal,
            }))
        }

        fn event_groups(&mut self, ctx: Ctx) -> wasmtime::Result<Vec<String>> {
            let event = self.running(ctx.rep())?.ctx.event.as_ref();
            let groups = event.map(|event| event.groups.iter().map(|group| String::from(&**group)));
            Ok(groups.map(Iterator::collect).unwrap_or_default())
        }

        fn meta(&mut self, ctx: Ctx) -> wasmtime::Result<String> {
            Ok(self.running(ctx.rep())?.ctx.meta().as_str().to_owned())
        }

        fn set_meta(&mut self, ctx: Ctx, object: String) -> Answer<()> {
            self.add_meta(ctx.rep(), object)
        }

        fn headers(&mut self, ctx: Ctx) -> wasmtime::Result<String> {
            Ok(self.running(ctx.rep())?.ctx.headers.as_str().to_owned())
        }

        fn set_response_headers(&mut self, ctx: Ctx, object: String) -> Answer<()> {
            self.add_response_headers(ctx.rep(), object)
        }

        fn remaining_time(&mut self, ctx: Ctx) -> wasmtime::Result<Option<u32>> {
            let until = self.running(ctx.rep())?.until;
            let left = until.map(|until| until.saturating_duration_since(clock::now()));
            Ok(left.map(|left| u32::try_from(left.as_millis()).unwrap_or(u32::MAX)))
        }

        fn cause(&mut self, ctx: Ctx) -> wasmtime::Result<Option<Failure>> {
            Ok(self.running(ctx.rep())?.cause.as_ref().map(failure_from))
        }

        fn start_call(
            &mut self,
            ctx: Ctx,
            action: String,
            params: PayloadResult,
            options: Option<String>,
        ) -> wasmtime::Result<Resource<PendingCall>> {
            let asked = Asked { action: &action, params, options: options.as_deref() };
            let call = self.start_asked(ctx.rep(), asked);
            Ok(self.table.push(call)?)
        }

        fn start_stream_call(
            &mut self,
            ctx: Ctx,
            action: String,
            params: PayloadResult,
            options: Option<String>,
            object_mode: bool,
        ) -> wasmtime::Result<(Resource<Writer>, Resource<PendingCall>)> {
            let asked = Asked { action: &action, params, options: options.as_deref() };
            let (writer, call) = self.start_with_stream(ctx.rep(), asked, object_mode);
            Ok((self.table.push(writer)?, self.table.push(call)?))
        }

        fn stream(&mut self, ctx: Ctx) -> wasmtime::Result<Option<Resource<Reader>>> {
            self.take_request_stream(ctx.rep())
        }

        fn drop(&mut self, _ctx: Ctx) -> wasmtime::Result<()> {
            // The handle of a handler is lent, and the service's own context stays as long as the instance.
            Ok(())
        }
    };
}

/// What there is to a call in flight besides its result.
macro_rules! at_once_of_a_pending_call {
    () => {
        fn take_stream(&mut self, call: Resource<PendingCall>) -> Answer<Option<Resource<Reader>>> {
            match self.take_answer_stream(&call)? {
                Ok(Some(reader)) => Ok(Ok(Some(self.table.push(reader)?))),
                Ok(None) => Ok(Ok(None)),
                Err(error) => Ok(Err(failure_from(&error))),
            }
        }

        fn drop(&mut self, call: Resource<PendingCall>) -> wasmtime::Result<()> {
            self.table.delete(call)?;
            Ok(())
        }
    };
}

/// What there is to a reader besides reading.
macro_rules! at_once_of_a_reader {
    () => {
        fn object_mode(&mut self, reader: Resource<Reader>) -> wasmtime::Result<bool> {
            let id = self.table.get(&reader)?.0;
            Ok(self.streams.reader_object_mode(id))
        }

        fn drop(&mut self, reader: Resource<Reader>) -> wasmtime::Result<()> {
            let Reader(id) = self.table.delete(reader)?;
            self.streams.drop_reader(id);
            Ok(())
        }
    };
}

/// What there is to a writer besides writing.
macro_rules! at_once_of_a_writer {
    () => {
        fn object_mode(&mut self, writer: Resource<Writer>) -> wasmtime::Result<bool> {
            let id = self.table.get(&writer)?.0;
            Ok(self.streams.writer_object_mode(id))
        }

        fn end(&mut self, writer: Resource<Writer>) -> Answer<()> {
            let id = self.table.get(&writer)?.0;
            Ok(self.streams.finish(id, Ok(())).map_err(|error| failure_from(&error)))
        }

        fn fail(&mut self, writer: Resource<Writer>, error: Failure) -> wasmtime::Result<()> {
            let id = self.table.get(&writer)?.0;
            // A stream that has ended stays as it ended.
            let _ = self.streams.finish(id, Err(error_from_guest(error)));
            Ok(())
        }

        fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
            let Writer(id) = self.table.delete(writer)?;
            self.streams.drop_writer(id);
            Ok(())
        }
    };
}

pub(super) use {
    at_once_of_a_context, at_once_of_a_pending_call, at_once_of_a_reader, at_once_of_a_writer,
};
