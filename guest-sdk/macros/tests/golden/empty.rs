#[service(name = "empty")]
impl Empty {}
