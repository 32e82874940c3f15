package isomer

import "time"

// Cacher is that of the node. A service may use keys that begin with its own full name and a dot or a colon;
// its operator can grant others.
type Cacher struct {
	node boundary
}

// Enabled says whether the node has a cacher that can be reached now.
func (c Cacher) Enabled() bool { return c.node.cacherEnabled() }

// Get reads the value of a key into what v points to; false when there is none.
func (c Cacher) Get(key string, v any) (bool, error) {
	payload, found, err := c.node.cacherGet(key)
	if err != nil || !found {
		return false, err
	}
	return true, payload.read(v)
}

// GetWithTTL is Get that also tells how long the value will be kept; 0 is for ever.
func (c Cacher) GetWithTTL(key string, v any) (time.Duration, bool, error) {
	payload, ttl, found, err := c.node.cacherGetWithTTL(key)
	if err != nil || !found {
		return 0, false, err
	}
	var left time.Duration
	if ttl != nil {
		left = time.Duration(*ttl * float64(time.Second))
	}
	return left, true, payload.read(v)
}

// DefaultTTL asks Set to keep a value as long as the node's options say.
const DefaultTTL time.Duration = -1

// Set keeps a value for a time; 0 is for ever.
func (c Cacher) Set(key string, value any, ttl time.Duration) error {
	payload, err := NewPayload(value)
	if err != nil {
		return err
	}
	if ttl < 0 {
		return c.node.cacherSet(key, payload, nil)
	}
	seconds := ttl.Seconds()
	return c.node.cacherSet(key, payload, &seconds)
}

// Del removes the values of keys.
func (c Cacher) Del(keys ...string) error { return c.node.cacherDel(keys) }

// Clean removes the values whose keys match one of these patterns, such as posts.**.
func (c Cacher) Clean(patterns ...string) error { return c.node.cacherClean(patterns) }
