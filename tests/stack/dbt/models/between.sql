{{ config(materialized='ephemeral') }}
select region, count(*) as n from {{ ref('people') }} group by region having count(*) > 0
