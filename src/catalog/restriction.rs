//! stub
/// s
#[derive(Clone, Debug, PartialEq)]
pub struct ReadRestrictions;
impl ReadRestrictions {
    /// r
    pub fn read(_: &str) -> Result<Option<Self>, String> {
        Err("not understood".to_owned())
    }
}
