{{ config(materialized='table', on_table_exists='skip') }}
select 1 as one
