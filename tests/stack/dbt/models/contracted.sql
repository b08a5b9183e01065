{{ config(materialized='table') }}
select id, name, cast(balance as decimal(12, 2)) as amount from {{ ref('people') }}
