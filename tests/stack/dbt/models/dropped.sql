{{ config(materialized='table', on_table_exists='drop', alias='Dropped') }}
with chosen as (select * from {{ ref('between') }}) select * from chosen where "n" > 0
