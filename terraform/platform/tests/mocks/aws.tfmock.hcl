# What the provider computes, in the form in which other resources want it.
mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}
mock_data "aws_partition" {
  defaults = { partition = "aws" }
}
mock_data "aws_availability_zones" {
  defaults = { names = ["eu-west-3a", "eu-west-3b", "eu-west-3c"] }
}
mock_data "aws_iam_policy_document" {
  defaults = { json = "{}" }
}
mock_data "aws_region" {
  defaults = { name = "eu-west-3" }
}
mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
}
mock_resource "aws_iam_policy" {
  defaults = { arn = "arn:aws:iam::123456789012:policy/mock" }
}
mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:eu-west-3:123456789012:key/mock", key_id = "mock" }
}
mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::mock" }
}
mock_resource "aws_ecs_cluster" {
  defaults = { arn = "arn:aws:ecs:eu-west-3:123456789012:cluster/mock" }
}
mock_resource "aws_ecs_task_definition" {
  defaults = {
    arn                  = "arn:aws:ecs:eu-west-3:123456789012:task-definition/mock:1"
    arn_without_revision = "arn:aws:ecs:eu-west-3:123456789012:task-definition/mock"
  }
}
mock_resource "aws_lb" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-west-3:123456789012:loadbalancer/app/mock/1"
    arn_suffix = "app/mock/1"
    dns_name   = "mock-1.eu-west-3.elb.amazonaws.com"
  }
}
mock_resource "aws_lb_target_group" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-west-3:123456789012:targetgroup/mock/1"
    arn_suffix = "targetgroup/mock/1"
  }
}
mock_resource "aws_secretsmanager_secret" {
  defaults = { arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:mock" }
}
mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-west-3:123456789012:mock" }
}
mock_resource "aws_sqs_queue" {
  defaults = { arn = "arn:aws:sqs:eu-west-3:123456789012:mock" }
}
mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-west-3:123456789012:log-group:mock" }
}
mock_resource "aws_db_instance" {
  defaults = {
    endpoint = "database.example.com:5432"
    address  = "database.example.com"
    master_user_secret = [{
      secret_arn    = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:master"
      kms_key_id    = "mock"
      secret_status = "active"
    }]
  }
}
mock_resource "aws_apprunner_service" {
  defaults = {
    arn         = "arn:aws:apprunner:eu-west-3:123456789012:service/fraud-detection-api/1"
    service_id  = "0123456789abcdef"
    service_url = "0123456789.eu-west-3.awsapprunner.com"
  }
}
mock_resource "aws_apprunner_auto_scaling_configuration_version" {
  defaults = { arn = "arn:aws:apprunner:eu-west-3:123456789012:autoscalingconfiguration/mock/1/1" }
}
mock_resource "aws_apprunner_vpc_ingress_connection" {
  defaults = { domain_name = "0123456789.eu-west-3.awsapprunner.com" }
}
mock_resource "aws_wafv2_web_acl" {
  defaults = { arn = "arn:aws:wafv2:eu-west-3:123456789012:regional/webacl/mock/1" }
}
mock_resource "aws_apprunner_vpc_connector" {
  defaults = { arn = "arn:aws:apprunner:eu-west-3:123456789012:vpcconnector/mock/1/1" }
}
