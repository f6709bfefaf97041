//! Times as the store keeps them: numbers.

use sqlx::any::{Any, AnyTypeInfo, AnyValueRef};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;

use crate::calendar::UnixMs;

impl sqlx::Type<Any> for UnixMs {
    fn type_info() -> AnyTypeInfo {
        <i64 as sqlx::Type<Any>>::type_info()
    }
    fn compatible(stored: &AnyTypeInfo) -> bool {
        <i64 as sqlx::Type<Any>>::compatible(stored)
    }
}

impl<'q> sqlx::Encode<'q, Any> for UnixMs {
    fn encode_by_ref(
        &self,
        arguments: &mut <Any as sqlx::Database>::ArgumentBuffer,
    ) -> Result<IsNull, BoxDynError> {
        <i64 as sqlx::Encode<'q, Any>>::encode_by_ref(&self.get(), arguments)
    }
}

impl<'r> sqlx::Decode<'r, Any> for UnixMs {
    fn decode(value: AnyValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as sqlx::Decode<'r, Any>>::decode(value).map(UnixMs::new)
    }
}
