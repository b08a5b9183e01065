mod device;
mod discovery;
mod double;
mod id_token;
mod logout;
mod sessions;
mod sign_in;
mod tokens;
