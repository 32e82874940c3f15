// `broker.metrics` and `broker.tracer`: the node measures and traces the service, so what a service records
// itself goes nowhere. The objects are there so that a service which records does not fail.

const nothing = () => {};

const metric = { increment: nothing, decrement: nothing, set: nothing, observe: nothing, reset: nothing };

export const silentMetrics = {
	isEnabled: () => false,
	register: () => metric,
	getMetric: () => metric,
	increment: nothing,
	decrement: nothing,
	set: nothing,
	observe: nothing,
	reset: nothing,
	timer: () => () => 0
};

const span = {
	tags: {},
	isActive: () => false,
	addTags: () => span,
	log: () => span,
	setError: () => span,
	start: () => span,
	finish: () => span,
	startSpan: () => span
};

export const silentTracer = { isEnabled: () => false, startSpan: () => span };
