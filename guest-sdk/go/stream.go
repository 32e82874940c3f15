package isomer

import (
	"errors"
	"io"
	"iter"
)

// Reader is a stream that is read: of bytes (it is an io.Reader then) or, in object mode, of JSON values.
// It is closed when the handler returns.
type Reader struct {
	source source
	left   []byte
}

func reader(source source) *Reader {
	if source == nil {
		return nil
	}
	return &Reader{source: source}
}

// ObjectMode says whether each chunk is one JSON value.
func (r *Reader) ObjectMode() bool { return r.source.objectMode() }

// Next gives the next chunk, after waiting for it; io.EOF at the end. It fails with the error of the source,
// with type STREAM_ABORTED when the source went away before the end.
func (r *Reader) Next() (Payload, error) {
	chunk, ok, err := r.source.read()
	if err != nil {
		return Payload{}, err
	}
	if !ok {
		return Payload{}, io.EOF
	}
	return chunk, nil
}

// Chunks goes over what is left: for chunk, err := range reader.Chunks().
func (r *Reader) Chunks() iter.Seq2[Payload, error] {
	return func(yield func(Payload, error) bool) {
		for {
			chunk, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(chunk, err) || err != nil {
				return
			}
		}
	}
}

// Read reads bytes; values of an object stream come as lines of JSON.
func (r *Reader) Read(into []byte) (int, error) {
	for len(r.left) == 0 {
		chunk, err := r.Next()
		if err != nil {
			return 0, err
		}
		r.left = chunk.Data
		if chunk.Kind == JSONText {
			r.left = append(append([]byte(nil), chunk.Data...), '\n')
		}
	}
	n := copy(into, r.left)
	r.left = r.left[n:]
	return n, nil
}

// Close tells the writer that nobody reads any more.
func (r *Reader) Close() error {
	r.source.drop()
	r.source = closed{}
	return nil
}

// Writer is a stream that is written: of bytes (it is an io.Writer then) or of JSON values. It has to be
// ended: the reader of a stream that is dropped without that gets an error.
type Writer struct {
	sink sink
}

// ObjectMode says whether each chunk has to be one JSON value.
func (w *Writer) ObjectMode() bool { return w.sink.objectMode() }

// Send adds a chunk, after waiting while the reader is behind: a value in object mode, else []byte. It fails
// with type STREAM_CLOSED when nobody reads any more.
func (w *Writer) Send(chunk any) error {
	payload, err := NewPayload(chunk)
	if err != nil {
		return err
	}
	return w.sink.write(payload)
}

// Write adds bytes.
func (w *Writer) Write(chunk []byte) (int, error) {
	if len(chunk) == 0 {
		return 0, nil
	}
	if err := w.sink.write(Payload{RawBytes, chunk}); err != nil {
		return 0, err
	}
	return len(chunk), nil
}

// End ends the stream: all chunks are written.
func (w *Writer) End() error { return w.sink.end() }

// Fail ends the stream with an error, which the reader gets.
func (w *Writer) Fail(err error) { w.sink.fail(asError(err)) }

// closed stands in the place of a stream that is over.
type closed struct{}

func (closed) objectMode() bool             { return false }
func (closed) read() (Payload, bool, error) { return Payload{}, false, nil }
func (closed) write(Payload) error {
	return NewError(500, "STREAM_CLOSED", "the stream is closed")
}
func (closed) end() error  { return NewError(500, "STREAM_CLOSED", "the stream is closed") }
func (closed) fail(*Error) {}
func (closed) drop()       {}
