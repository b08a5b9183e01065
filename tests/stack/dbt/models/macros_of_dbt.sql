{{ config(materialized='table') }}
select {{ dbt.dateadd('day', 1, 'ordered_at') }} as a, {{ dbt.datediff('ordered_at', 'ordered_at', 'month') }} as b,
       {{ dbt.date_trunc('week', 'ordered_at') }} as c, {{ dbt.last_day('ordered_at', 'quarter') }} as d,
       {{ dbt.hash('status') }} as e, {{ dbt.right('status', 2) }} as f, {{ dbt.split_part('status', "'a'", 1) }} as g,
       {{ dbt.safe_cast('status', api.Column.translate_type('integer')) }} as h, {{ dbt.concat(["status", "'x'"]) }} as i,
       {{ dbt.replace('status', "'a'", "'b'") }} as j, {{ dbt.position("'a'", 'status') }} as k, {{ dbt.length('status') }} as l,
       {{ dbt.string_literal("it's") if false else "'x'" }} as m, {{ dbt.cast_bool_to_text('amount > 1') }} as n,
       {{ dbt.array_construct([1, 2]) }} as o, {{ dbt.array_append('array[1]', 2) }} as p, {{ dbt.array_concat('array[1]', 'array[2]') }} as q,
       {{ dbt.current_timestamp() }} as r, {{ dbt.escape_single_quotes("x") | length }} as s
from {{ source('silver', 'orders') }}
